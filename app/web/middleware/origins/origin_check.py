"""Refuses requests of foreign web pages: any page that a person visits can reach a server on that person's machine."""

from litestar.types import ASGIApp, Receive, Scope, Send

from ...http.errors.problems import Problem, send_problem
from ...http.errors.refusals import cross_origin, unknown_host
from .origin_rules import OriginRules, host_allowed, host_name, origin_allowed

_SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})


class OriginCheck:
    """Middleware; refuses with a problem document of status 403."""

    def __init__(self, app: ASGIApp, rules: OriginRules) -> None:
        self._app = app
        self._rules = rules

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or refuse it."""
        refusal = _refusal(self._rules, scope) if scope["type"] == "http" else None
        if refusal is None:
            await self._app(scope, receive, send)
        else:
            await send_problem(refusal, scope, send)


def _refusal(rules: OriginRules, scope: Scope) -> Problem | None:
    headers = {name: value.decode("latin-1") for name, value in scope["headers"]}
    host = headers.get(b"host", "")
    if not host_allowed(rules, host):
        return unknown_host(host, host_name(host))
    if scope.get("method") in _SAFE_METHODS:
        return None
    origin, site = headers.get(b"origin"), headers.get(b"sec-fetch-site")
    return None if origin_allowed(rules, host, origin, site) else cross_origin(origin)
