"""Completes the OpenAPI document of `POST /upscale`: examples to paste, and images as answers."""

from dataclasses import dataclass

from litestar.openapi.spec import Example, OpenAPIMediaType, OpenAPIResponse, Operation, RequestBody, Schema
from litestar.openapi.spec.enums import OpenAPIFormat, OpenAPIType

from ...http.bodies.forms import MULTIPART
from ...http.media_types import IMAGES, JSON

PICTURE = (
    "iVBORw0KGgoAAAANSUhEUgAAABAAAAAQCAIAAACQkWg2AAAAQElEQVR42mNUdrvOQApgYiAR0F4DC6bQzhs+cLa7xhYCNiCrxuSi"
    "a8CUxhQchKGEogEzTDAFmfBLYxrBOAzSEgA0nhGhIcYh3gAAAABJRU5ErkJggg=="
)
"""A file of 16 x 16 pixels, in base64."""
_EXAMPLES = {
    "twice": Example(
        summary="Twice as large, with a network", value={"image": PICTURE, "upscaler": "demo-x2", "scale": 2}
    ),
    "lanczos": Example(
        summary="To a width, without a network",
        value={"image": PICTURE, "width": 48, "output_format": "jpeg", "output_quality": 90},
    ),
}


_FORM = OpenAPIMediaType(
    schema=Schema(
        type=OpenAPIType.OBJECT,
        description="The fields of the JSON body as parts of a form, `image` as a file; or a part `parameters` with a JSON "
        "object beside the file.",
        properties={
            "image": Schema(type=OpenAPIType.STRING, content_media_type="image/*", format=OpenAPIFormat.BINARY),
            "upscaler": Schema(type=OpenAPIType.STRING),
            "parameters": Schema(type=OpenAPIType.STRING, description="A JSON object with any of the fields."),
        },
        additional_properties=Schema(type=OpenAPIType.STRING),
    )
)


@dataclass
class UpscaleOperation(Operation):
    """Adds what Litestar cannot express: named examples of the body, forms, and several media types of one answer."""

    def __post_init__(self) -> None:
        """Complete the operation."""
        assert isinstance(self.request_body, RequestBody)
        self.request_body.content[JSON].examples = dict(_EXAMPLES)
        self.request_body.content[MULTIPART] = _FORM
        answer = (self.responses or {})["200"]
        assert isinstance(answer, OpenAPIResponse)
        assert answer.content is not None
        for media_type in IMAGES.values():
            answer.content[media_type] = OpenAPIMediaType(
                schema=Schema(type=OpenAPIType.STRING, format=OpenAPIFormat.BINARY)
            )
