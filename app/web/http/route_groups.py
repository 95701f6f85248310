"""Routes by what they are for, so that an application can choose which it mounts and which its guards protect."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Literal, get_args

from litestar.connection import ASGIConnection
from litestar.handlers import BaseRouteHandler
from litestar.types import ControllerRouterHandler, Guard
from litestar.utils import ensure_async_callable

from .page_requests import wants_page

RouteGroup = Literal[
    "generate", "upscale", "jobs", "models", "residency", "pool", "service", "health", "metrics", "page", "dialects"
]
"""`residency` loads, unloads and pins models; `service` is the facts at the plugin's path, `page` what browsers get there;
`dialects` are the APIs of other servers; the others are named by their path."""
ROUTE_GROUPS: frozenset[RouteGroup] = frozenset(get_args(RouteGroup))
"""All of them."""

_GROUP = "litestar_diffusion_group"
_PICTURES = "litestar_diffusion_pictures"
_MOUNTED = "litestar_diffusion_mounted"


def in_group(group: RouteGroup) -> dict[str, Any]:
    """Return the `opt` of a handler or controller that puts it into a group."""
    return {_GROUP: group}


def with_pictures() -> dict[str, Any]:
    """Return the `opt` of a handler whose bodies may hold pictures: they may be larger, and forms."""
    return {_PICTURES: True}


def takes_pictures(handler: object) -> bool:
    """Tell whether the bodies of a handler may hold pictures."""
    return bool(getattr(handler, "opt", {}).get(_PICTURES))


def mounted(groups: Collection[RouteGroup]) -> dict[str, Any]:
    """Return the `opt` of a router that tells its handlers which groups there are."""
    return {_MOUNTED: frozenset(groups)}


def is_mounted(handler: BaseRouteHandler, group: RouteGroup) -> bool:
    """Tell whether the router of a handler has the routes of a group."""
    return group in handler.opt.get(_MOUNTED, ROUTE_GROUPS)


def chosen(
    handlers: Sequence[ControllerRouterHandler], groups: Collection[RouteGroup]
) -> list[ControllerRouterHandler]:
    """Return the handlers of these groups, and those of no group."""
    return [handler for handler in handlers if _group(getattr(handler, "opt", None)) in {None, *groups}]


def sparing(guard: Guard, groups: Collection[RouteGroup]) -> Guard:
    """Make a guard that lets every request for the routes of these groups pass."""
    wrapped = ensure_async_callable(guard)

    async def guarded(connection: ASGIConnection[Any, Any, Any, Any], handler: BaseRouteHandler) -> None:
        group = "page" if wants_page(connection, handler) else _group(handler.opt)
        if group not in groups:
            await wrapped(connection, handler)

    return guarded


def _group(opt: object) -> RouteGroup | None:
    return opt.get(_GROUP) if isinstance(opt, Mapping) else None
