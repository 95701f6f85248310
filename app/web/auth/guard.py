"""The one guard: compares what a route needs with what the client's key allows."""

from typing import Any

from litestar.connection import ASGIConnection
from litestar.handlers import BaseRouteHandler

from ...domain.access.scopes import allows
from ...domain.errors import Forbidden
from ..http.page_requests import wants_page
from .authentication import holder_of, refusal_of
from .requirements import required_by


def authorize(connection: ASGIConnection[Any, Any, Any, Any], handler: BaseRouteHandler) -> None:
    """Let a request pass whose key has a scope that the route needs.

    Raises:
        Unauthorized: it carries no valid key.
        Forbidden: its key has none of the scopes.
        ConflictingKeys: it carries several.
    """
    required = required_by(handler.opt)
    if not required or wants_page(connection, handler):  # the page asks for a key itself
        return
    holder = holder_of(connection)
    if holder is None:
        raise refusal_of(connection)
    if not allows(holder.scopes, required):
        raise missing_scope(holder.name, holder.scopes, required)


def missing_scope(name: str, held: "tuple[str, ...]", required: "frozenset[str]") -> Forbidden:
    """Return the refusal of a key that has none of the scopes that a route needs."""
    needed = sorted(required)
    return Forbidden(
        f"This needs a key with the scope {' or '.join(needed)}; the key {name!r} has {', '.join(held)} (keys.{name}.scopes).",
        scopes=needed,
    )
