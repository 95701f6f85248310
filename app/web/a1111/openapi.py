"""What the OpenAPI document of the dialect needs beside the handlers."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from litestar.openapi.spec import Operation


@dataclass
class A1111Operation(Operation):
    """Takes out the status 400, which Litestar documents for every handler with parameters: here it is 422."""

    def __post_init__(self) -> None:
        """Complete the operation."""
        (self.responses or {}).pop("400", None)


def id_of_path(_handler: object, _method: object, parts: Sequence[Any]) -> str:
    """Return an operation id such as `a1111_sd_vae` for `/sdapi/v1/sd-vae`; for handlers of several paths."""
    return f"a1111_{str(parts[-1]).replace('-', '_')}"
