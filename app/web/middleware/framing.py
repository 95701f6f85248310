"""Refuses requests whose length is stated twice, which a proxy may have read in the other way (request smuggling)."""

from litestar.types import ASGIApp, Receive, Scope, Send

from ..http.errors.problems import send_problem
from ..http.errors.refusals import framed_twice

_CLOSE = (b"connection", b"close")


def framed_once(app: ASGIApp) -> ASGIApp:
    """Refuse requests with Content-Length and Transfer-Encoding."""

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        names = {name for name, _ in scope["headers"]} if scope["type"] == "http" else set()
        if {b"content-length", b"transfer-encoding"} <= names:
            await send_problem(framed_twice(), scope, send, [_CLOSE])
        else:
            await app(scope, receive, send)

    return answer
