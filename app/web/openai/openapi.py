"""Completes the OpenAPI document of the routes that take forms."""

from dataclasses import dataclass

from litestar.openapi.spec import Operation, RequestBody

from ..http.bodies.forms import MULTIPART
from ..http.media_types import JSON


@dataclass
class FormOperation(Operation):
    """Shows the body as a form; JSON with base64 is understood too."""

    def __post_init__(self) -> None:
        """Complete the operation."""
        assert isinstance(self.request_body, RequestBody)
        content = self.request_body.content
        self.request_body.content = {MULTIPART: content[JSON], **content}
