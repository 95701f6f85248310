"""Tells browsers, which want a page, from programs, which want JSON."""

from typing import Any

from litestar.connection import ASGIConnection
from litestar.handlers import BaseRouteHandler

from .accept import by_preference
from .media_types import HTML, JSON

_ALSO_PAGE = "litestar_diffusion_also_page"
_PAGE_IS_ON = "litestar_diffusion_page_is_on"


def also_page() -> dict[str, Any]:
    """Return the `opt` of a handler that answers browsers with the page."""
    return {_ALSO_PAGE: True}


def page_is(*, on: bool) -> dict[str, Any]:
    """Return the `opt` of a router that has the page, or has not."""
    return {_PAGE_IS_ON: on}


def wants_page(connection: ASGIConnection[Any, Any, Any, Any], handler: BaseRouteHandler) -> bool:
    """Tell whether a request is answered with the page: its handler has it, and its Accept header prefers HTML to JSON."""
    has_page = handler.opt.get(_ALSO_PAGE) and handler.opt.get(_PAGE_IS_ON)
    return bool(has_page) and prefers_html(connection.headers.get("accept"))


def prefers_html(accept: str | None) -> bool:
    """Tell whether an Accept header names HTML, and not JSON before it."""
    return next((kind for kind in by_preference(accept or "") if kind in (HTML, JSON)), None) == HTML
