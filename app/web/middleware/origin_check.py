"""Refuses what web pages of others send: any page that a person visits can reach a server on that person's machine."""

from litestar.types import ASGIApp, Receive, Scope, Send

from ..http.problems import Problem, send_problem
from .origins import OriginRules, host_allowed, host_name, origin_allowed

_SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
_MAX_SHOWN_CHARS = 200


class OriginCheck:
    """Middleware; refuses with a problem document of status 403."""

    def __init__(self, app: ASGIApp, rules: OriginRules) -> None:
        self._app = app
        self._rules = rules

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass one request on, or refuse it."""
        refusal = _refusal(self._rules, scope) if scope["type"] == "http" else None
        if refusal is None:
            await self._app(scope, receive, send)
        else:
            await send_problem(refusal, scope, send)


def _refusal(rules: OriginRules, scope: Scope) -> Problem | None:
    headers = {name: value.decode("latin-1") for name, value in scope["headers"]}
    host = headers.get(b"host", "")
    address = (scope.get("server") or ("", None))[0]
    if not host_allowed(rules, host, address):
        return _wrong_host(host)
    if scope.get("method") in _SAFE_METHODS:
        return None
    origin, site = headers.get(b"origin"), headers.get(b"sec-fetch-site")
    return None if origin_allowed(rules, host, origin, site) else _wrong_origin(origin)


def _wrong_origin(origin: str | None) -> Problem:
    where = f"at {_shown(origin)}" if origin and origin != "null" else "that does not say where it comes from"
    entry = _shown(origin) if origin else '"*"'
    return Problem(
        title="A page of another origin may not do this",
        status=403,
        code="cross_origin",
        detail=f"A web page {where} sent this request. If it may, add {entry} to allowed_origins under [server] in the "
        "server's settings.",
    )


def _wrong_host(host: str) -> Problem:
    return Problem(
        title="This server does not answer to that name",
        status=403,
        code="unknown_host",
        detail=f"The request was sent to {_shown(host)}, which is not known as a name of this server. If it is one, add "
        f"{_shown(host_name(host))} to allowed_hosts under [server] in the server's settings.",
    )


def _shown(text: str) -> str:
    return f'"{text[:_MAX_SHOWN_CHARS]}"'
