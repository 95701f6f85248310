"""Completes the OpenAPI document of `POST /generate/{model_name}` by the bodies and errors of Hugging Face's clients."""

from dataclasses import dataclass

from litestar.openapi.spec import Example, OpenAPIMediaType, OpenAPIResponse, Operation, RequestBody, Schema
from litestar.openapi.spec.enums import OpenAPIType

from ..api.generate_openapi import complete_generate
from ..http.media_types import JSON

_EXAMPLE = Example(
    summary="As Hugging Face's clients send it",
    value={
        "inputs": "a red circle on a blue background",
        "parameters": {"num_inference_steps": 20, "scheduler": "EulerAncestralDiscreteScheduler", "seed": 7},
    },
)
_ERROR = Schema(
    type=OpenAPIType.OBJECT,
    title="InferenceError",
    description="To a body with `inputs`.",
    properties={"error": Schema(type=OpenAPIType.STRING), "error_type": Schema(type=OpenAPIType.STRING)},
    required=["error", "error_type"],
)


@dataclass
class EitherOperation(Operation):
    """Adds an example of the other body, its errors, and the refusal of pictures."""

    def __post_init__(self) -> None:
        """Complete the operation."""
        complete_generate(self)
        assert isinstance(self.request_body, RequestBody)
        examples = self.request_body.content[JSON].examples or {}
        self.request_body.content[JSON].examples = {**examples, "huggingface": _EXAMPLE}
        responses = self.responses or {}
        for status, response in responses.items():
            if status >= "400" and isinstance(response, OpenAPIResponse) and response.content is not None:
                response.content[JSON] = OpenAPIMediaType(schema=_ERROR)
        responses["501"] = OpenAPIResponse(
            description="The body holds a picture, as that of `image_to_image` does.",
            content={JSON: OpenAPIMediaType(schema=_ERROR)},
        )
