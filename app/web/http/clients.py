"""Identifies the client of a request: its share of the device, its idempotency keys, its jobs."""

import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from litestar.connection import ASGIConnection
from litestar.handlers import BaseRouteHandler

_IDENTIFY = "litestar_diffusion_identify"


@dataclass(frozen=True, slots=True, kw_only=True)
class Client:
    """The sender of a request."""

    name: str
    """Clients of one name share their part of the device, their idempotency keys and their jobs."""
    sees_all: bool = False
    """Whether it also sees and cancels the jobs of others."""


Connection = ASGIConnection[Any, Any, Any, Any]
Identify = Callable[[Connection], Client | str | None]
"""Names the client of a request; a text is its name; None: it has none, and its address counts."""


def identified_by(identify: Identify) -> dict[str, Any]:
    """Return the `opt` of a router whose requests this function identifies."""
    return {_IDENTIFY: identify}


def is_identified(handler: BaseRouteHandler) -> bool:
    """Tell whether a handler is one of ours."""
    return _IDENTIFY in handler.opt


def client_of(connection: Connection) -> str:
    """Return the name of the client of a request."""
    return _client(connection).name


def owner_of(connection: Connection) -> str | None:
    """Return the client whose jobs alone the sender of a request may see; None if it may see all."""
    client = _client(connection)
    return None if client.sees_all else client.name


def _client(connection: Connection) -> Client:
    identify: Identify = connection.route_handler.opt.get(_IDENTIFY, host_user)
    found = identify(connection)
    if found is None:
        # If others here have names, their jobs are not for a client that has none.
        return _address(connection, sees_all=identify is host_user and "user" not in connection.scope)
    return Client(name=found) if isinstance(found, str) else found


def _address(connection: Connection, *, sees_all: bool) -> Client:
    """Identify by the address. It proves little, so if it is all that there is, no job is hidden.

    Keys that no part of the application has checked are not looked at: a client could invent a new one for each request.
    """
    return Client(name=connection.client.host if connection.client is not None else "", sees_all=sees_all)


def host_user(connection: Connection) -> str | None:
    """Return the name of the user that authentication around this plugin has set as `request.user`; None if it has set none.

    A text is the name; otherwise `id`, as an attribute or a key, or `sub` of `request.auth`, as Litestar's JWT has it.
    """
    user = connection.scope.get("user")
    token = connection.scope.get("auth")
    candidates = (user, _named(user, "id"), _named(token, "sub"))
    found = next((each for each in candidates if _is_plain(each)), None)
    return None if found is None else f"user:{found}"


def _named(value: object, name: str) -> object:
    return value.get(name) if isinstance(value, dict) else getattr(value, name, None)


def _is_plain(value: object) -> bool:
    """Tell whether a value is the same text for each request of a user: not the `repr` of an object at some address."""
    return isinstance(value, (str, int, uuid.UUID)) and not isinstance(value, bool) and value != ""
