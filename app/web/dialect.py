"""A dialect: an HTTP API that clients of some server already speak, over the same `GenerationService`."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from litestar.types import ControllerRouterHandler, ExceptionHandlersMap


@dataclass(frozen=True, slots=True, kw_only=True)
class Dialect:
    """What the plugin mounts; `dialects.DIALECTS` lists them."""

    name: str
    path: str = "/"
    """Below the path of the plugin."""
    route_handlers: Sequence[ControllerRouterHandler]
    """Handlers get a `GenerationService` as the dependency `generation`."""
    exception_handlers: Callable[[], ExceptionHandlersMap]
    """Encoders of errors in the dialect's own shape."""
