"""Authenticates requests by API keys: sets `request.user` and `request.auth`."""

from typing import Any

from litestar.connection import ASGIConnection
from litestar.middleware import AbstractAuthenticationMiddleware, AuthenticationResult
from litestar.types import ASGIApp

from ...domain.access.key_ring import KeyHolder, KeyRing
from ...domain.errors import DiffusionError, Unauthorized
from ..http.clients import Client
from ..middleware.access_log import note_key
from .credentials import credential_in

_REFUSAL = "litestar_diffusion_refusal"
_NONE = Unauthorized(
    "The request carries no key. Send one of this server's keys as Authorization: Bearer KEY, as X-API-Key: KEY, or as the "
    "password of HTTP Basic."
)


class KeyAuthentication(AbstractAuthenticationMiddleware):
    """Litestar's middleware, but for one thing: it refuses no request.

    Which routes are public is declared in their `opt`, and HEAD requests come here as those of another handler than the one of
    GET that answers them. So the guard, which sees the right handler, refuses. `request.user` is a `KeyHolder` (name, scopes),
    `request.auth` its `ApiKey`; both are None for a request without a valid key, which only public routes answer.
    """

    def __init__(self, app: ASGIApp, keys: KeyRing) -> None:
        super().__init__(app)
        self._keys = keys

    async def authenticate_request(self, connection: ASGIConnection[Any, Any, Any, Any]) -> AuthenticationResult:
        """Find the holder of the key that a request carries."""
        try:
            holder = _authenticated(connection, self._keys)
        except DiffusionError as error:
            connection.scope["state"][_REFUSAL] = error
            return AuthenticationResult(user=None, auth=None)
        note_key(connection.scope, holder.name)
        return AuthenticationResult(user=holder, auth=holder.key)


def holder_of(connection: ASGIConnection[Any, Any, Any, Any]) -> KeyHolder | None:
    """Return the holder of the key that a request was authenticated by; None without one."""
    user = connection.scope.get("user")
    return user if isinstance(user, KeyHolder) else None


def refusal_of(connection: ASGIConnection[Any, Any, Any, Any]) -> DiffusionError:
    """Return why a request was not authenticated."""
    refusal: DiffusionError = connection.scope["state"].get(_REFUSAL, _NONE)
    return refusal.with_traceback(None)


def key_client(connection: ASGIConnection[Any, Any, Any, Any]) -> Client | None:
    """Identify the client of a request by its key; `admin` sees the jobs of all."""
    holder = holder_of(connection)
    return None if holder is None else Client(name=holder.client, sees_all="admin" in holder.scopes)


def _authenticated(connection: ASGIConnection[Any, Any, Any, Any], keys: KeyRing) -> KeyHolder:
    credential = credential_in(connection.scope["headers"])
    if credential is None:
        raise _NONE.with_traceback(None)
    return keys.holder_of(credential)
