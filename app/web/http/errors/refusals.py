"""Problem documents for requests that no error of the domain describes: refused by HTTP itself, or by their origin.

The OpenAPI document shows documents made by the same functions, so that its examples are what a client gets.
"""

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

from litestar.exceptions import HTTPException

from ....domain.errors import InvalidRequest
from ....domain.shown import cut
from ..media_types import IMAGES, JSON
from .problems import Problem

_TITLES: Mapping[int, tuple[str, str]] = {
    400: (InvalidRequest.code, InvalidRequest.title),
    404: ("not_found", "There is no such page"),
    405: ("method_not_allowed", "This method is not possible here"),
    406: ("not_acceptable", "No acceptable format"),
    413: ("body_too_large", "The request is too large"),
    415: ("unsupported_media_type", "This media type is not understood"),
}
"""Code and title, by status."""
_MAX_SHOWN_CHARS = 200
"""Characters of a host or origin that are shown; more than of other texts, because they are to be copied to the settings."""
EMPTY_BODY = 'is empty. Send an object such as {"prompt": "a red circle"}'
"""What is wrong with the body of a request that has none."""


def refusal(status: int, detail: str) -> Problem:
    """Return the problem document of a refusal that HTTP has a status for."""
    code, title = _TITLES.get(status, (f"http_{status}", "The request failed"))
    return Problem(title=title, status=status, code=code, detail=detail)


def nothing_at(path: str, root: str = "") -> Problem:
    """Return the answer to a path that no route has; `root` is the prefix of a proxy."""
    return refusal(HTTPStatus.NOT_FOUND, f"There is nothing at {cut(path)}. {root}/schema lists what there is.")


def path_asked(scope: Any) -> str:
    """Return the path that the client asked for; Litestar has removed the prefix of a proxy from it if a route matches."""
    root, path = scope.get("root_path") or "", scope["path"]
    return path if path.startswith(root) else root + path


def wrong_method(method: str, path: str, allowed: str) -> Problem:
    """Return the answer to a method that a route does not have."""
    return refusal(
        HTTPStatus.METHOD_NOT_ALLOWED, f"{cut(method)} is not possible at {cut(path)}. Use one of these: {allowed}."
    )


def body_too_large() -> Problem:
    """Return the answer to a body above the limit."""
    return refusal(
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
        "The request body is larger than limits.max_body_bytes in the server's settings, or, where it may hold pictures, than "
        "limits.max_upload_bytes.",
    )


def not_json(media_type: str) -> HTTPException:
    """Return the error for a body that claims to be of another media type than JSON."""
    return HTTPException(
        detail=f"The body is of type {cut(media_type)!r}. Send JSON, with the header content-type: application/json.",
        status_code=HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
    )


def not_acceptable(media_types: Sequence[str]) -> HTTPException:
    """Return the error for an Accept header that allows only these types, none of which can be made."""
    return HTTPException(
        detail=f"The Accept header allows only {cut(', '.join(media_types))!r}. This answer is made as "
        f"{', '.join([JSON, *IMAGES.values()])}: accept one of them.",
        status_code=HTTPStatus.NOT_ACCEPTABLE,
        headers={"vary": "Accept"},
    )


def cross_origin(origin: str | None) -> Problem:
    """Return the answer to a web page of an origin that is not allowed."""
    known = bool(origin) and origin != "null"
    page = f"at {_quoted(origin or '')}" if known else "that does not state its origin"
    entry = _quoted(origin) if origin else '"*"'
    return Problem(
        title="A page of another origin may not do this",
        status=HTTPStatus.FORBIDDEN,
        code="cross_origin",
        detail=f"A web page {page} sent this request. To allow it, add {entry} to allowed_origins under [server] in the "
        "server's settings.",
    )


def unknown_host(host: str, name: str) -> Problem:
    """Return the answer to a request for a name that is not known as one of this server.

    Args:
        host: the Host header.
        name: the name in it, without the port.
    """
    return Problem(
        title="This server does not answer to that name",
        status=HTTPStatus.FORBIDDEN,
        code="unknown_host",
        detail=f"The request was sent to {_quoted(host)}, which is not known as a name of this server. To allow it, add "
        f"{_quoted(name)} to allowed_hosts under [server] in the server's settings.",
    )


def too_many_connections(count: int, limit: int) -> Problem:
    """Return the answer on a connection beyond the limit of the server."""
    return Problem(
        title="There are too many connections",
        status=HTTPStatus.SERVICE_UNAVAILABLE,
        code="too_many_connections",
        detail=f"{count} connections have requests, of {limit} that the server may have (server.max_connections, or fewer if "
        "the system gives the process fewer file descriptors). Try again later, with fewer connections.",
    )


def too_many_connections_of_address(count: int, limit: int) -> Problem:
    """Return the answer on a connection beyond the limit of one address."""
    return Problem(
        title="There are too many connections from your address",
        status=HTTPStatus.TOO_MANY_REQUESTS,
        code="too_many_connections",
        detail=f"{count} connections from your address have requests, the limit is {limit} "
        "(server.max_connections_per_address). Use fewer connections, or reuse them.",
    )


def header_too_slow(timeout_s: float) -> Problem:
    """Return the answer to a request whose header does not end."""
    return Problem(
        title="The request's header came too slowly",
        status=HTTPStatus.REQUEST_TIMEOUT,
        code="header_too_slow",
        detail=f"The header of the request did not end within {timeout_s:g} seconds (server.header_timeout_s). Send the request "
        "again.",
    )


def framed_twice() -> Problem:
    """Return the answer to a request with two statements of its length."""
    return refusal(
        HTTPStatus.BAD_REQUEST,
        "The request has Content-Length and Transfer-Encoding. Send one of them: programs between client and server may "
        "disagree about which of them counts.",
    )


def keys_needed() -> Problem:
    """Return the answer to a request from another machine while the server has no keys."""
    return Problem(
        title="This server has no keys",
        status=HTTPStatus.FORBIDDEN,
        code="keys_needed",
        detail="Without keys this server answers on its own machine only. To open it to others, make a key with "
        "`litestar-diffusion keys add NAME` and restart it, or, if something before it authenticates clients, set "
        "server.insecure = true (LITESTAR_DIFFUSION__SERVER__INSECURE=true).",
    )


def _quoted(text: str) -> str:
    return f'"{text[:_MAX_SHOWN_CHARS]}"'
