"""A dialect: an HTTP API that clients of another server already use, on top of the same `GenerationService`."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from litestar.openapi.datastructures import ResponseSpec
from litestar.types import ControllerRouterHandler, ExceptionHandlersMap

from .http.errors.documented_errors import documented
from .http.errors.problems import Problem


@dataclass(frozen=True, slots=True, kw_only=True)
class Dialect:
    """Routes of one HTTP API. The plugin mounts those of `dialects.DIALECTS`."""

    name: str
    path: str = "/"
    """Path below that of the plugin."""
    route_handlers: Sequence[ControllerRouterHandler]
    """Handlers that receive a `GenerationService` as the dependency `generation`."""
    replaces: Mapping[ControllerRouterHandler, ControllerRouterHandler] = field(
        default_factory=dict[ControllerRouterHandler, ControllerRouterHandler]
    )
    """Handlers of other dialects, each with the one that takes its place because it takes bodies of this dialect too."""
    parameters: Sequence[type] = ()
    """Wire types whose fields are named as those of the native body; their OpenAPI schemas get the configured limits."""
    exception_handlers: Callable[[], ExceptionHandlersMap]
    """Encoders of errors in the dialect's own shape; they win over the plugin's."""
    documented: Callable[[str, Problem], ResponseSpec] = documented
    """Documents an error in the dialect's own shape, for the OpenAPI document."""
    state: Callable[[], object] = lambda: None
    """Makes what the dialect remembers during one lifespan; its handlers receive it as the dependency `dialect_state`."""
