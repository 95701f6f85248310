"""What the OpenAPI document of the dialect needs beside the handlers."""

from collections.abc import Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from litestar.openapi.spec import OpenAPIResponse, Operation


@dataclass
class A1111Operation(Operation):
    """Takes out the status 400 that Litestar documents for every handler with parameters: here it is 422."""

    def __post_init__(self) -> None:
        """Complete the operation."""
        responses = self.responses or {}
        found = responses.get("400")
        if isinstance(found, OpenAPIResponse) and found.description == HTTPStatus.BAD_REQUEST.description:
            del responses["400"]


def id_of_path(_handler: object, _method: object, parts: Sequence[Any]) -> str:
    """Return an operation id such as `a1111_sd_vae` for `/sdapi/v1/sd-vae`; for handlers of several paths."""
    return f"a1111_{str(parts[-1]).replace('-', '_')}"
