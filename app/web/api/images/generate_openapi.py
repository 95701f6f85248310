"""Completes the OpenAPI document of `POST /generate/{model_name}`: examples to paste, and images as answers."""

from dataclasses import dataclass

from litestar.openapi.spec import Example, OpenAPIMediaType, OpenAPIResponse, Operation, RequestBody, Schema
from litestar.openapi.spec.enums import OpenAPIFormat, OpenAPIType

from ...http.bodies.forms import MULTIPART
from ...http.media_types import IMAGES, JSON

_EXAMPLES = {
    "picture": Example(summary="A picture", value={"prompt": "a red circle on a blue background", "seed": 7}),
    "everything": Example(
        summary="Every common parameter",
        value={
            "prompt": "a yellow star on a purple background",
            "negative_prompt": "red",
            "num_inference_steps": 20,
            "guidance_scale": 3.0,
            "width": 128,
            "height": 128,
            "seed": 1,
            "n": 1,
            "sampler": "DPM++ 2M Karras",
            "output_format": "jpeg",
            "output_quality": 90,
        },
    ),
}


_FILE = Schema(type=OpenAPIType.STRING, content_media_type="image/*", format=OpenAPIFormat.BINARY)
_FORM = OpenAPIMediaType(
    schema=Schema(
        type=OpenAPIType.OBJECT,
        description="The fields of the JSON body as parts of a form, `image` and `mask` as files; or a part `parameters` with a "
        "JSON object beside the files.",
        properties={
            "image": _FILE,
            "mask": _FILE,
            "prompt": Schema(type=OpenAPIType.STRING),
            "parameters": Schema(type=OpenAPIType.STRING, description="A JSON object with any of the fields."),
        },
        additional_properties=Schema(type=OpenAPIType.STRING),
    )
)


@dataclass
class JobOperation(Operation):
    """Adds named examples of the body, and forms."""

    def __post_init__(self) -> None:
        """Complete the operation."""
        assert isinstance(self.request_body, RequestBody)
        self.request_body.content[JSON].examples = dict(_EXAMPLES)
        self.request_body.content[MULTIPART] = _FORM


@dataclass
class GenerateOperation(Operation):
    """Adds what Litestar cannot express: named examples of the body, and several media types of one answer."""

    def __post_init__(self) -> None:
        """Complete the operation."""
        complete_generate(self)


def complete_generate(operation: Operation) -> None:
    """Add the examples of the native body, and images as answers."""
    assert isinstance(operation.request_body, RequestBody)
    operation.request_body.content[JSON].examples = dict(_EXAMPLES)
    operation.request_body.content[MULTIPART] = _FORM
    answer = (operation.responses or {})["200"]
    assert isinstance(answer, OpenAPIResponse)
    assert answer.content is not None
    for media_type in IMAGES.values():
        answer.content[media_type] = OpenAPIMediaType(
            schema=Schema(type=OpenAPIType.STRING, format=OpenAPIFormat.BINARY)
        )
