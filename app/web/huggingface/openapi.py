"""Completes the OpenAPI document of `POST /generate/{model_name}` by an example of the bodies of Hugging Face's clients."""

from dataclasses import dataclass

from litestar.openapi.spec import Example, Operation, RequestBody

from ..api.images.generate_openapi import complete_generate
from ..http.media_types import JSON

_EXAMPLE = Example(
    summary="As Hugging Face's clients send it",
    value={
        "inputs": "a red circle on a blue background",
        "parameters": {"num_inference_steps": 20, "scheduler": "EulerAncestralDiscreteScheduler", "seed": 7},
    },
)


@dataclass
class EitherOperation(Operation):
    """Adds an example of the other body."""

    def __post_init__(self) -> None:
        """Complete the operation."""
        complete_generate(self)
        assert isinstance(self.request_body, RequestBody)
        examples = self.request_body.content[JSON].examples or {}
        self.request_body.content[JSON].examples = {**examples, "huggingface": _EXAMPLE}
