"""Answers requests of connections beyond the limit, and closes them; health checks are answered as usual."""

from litestar.types import ASGIApp, Message, Receive, Scope, Send

from ..web.http.errors.problems import Problem, send_problem

_HEALTH = ("/health/live", "/health/ready")
_CLOSE = (b"connection", b"close")
_RETRY_AFTER = (b"retry-after", b"5")


def refusing(app: ASGIApp, problem: Problem) -> ASGIApp:
    """Wrap an application: every request but those of health checks gets the problem document."""

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and not scope["path"].endswith(_HEALTH):
            await send_problem(problem, scope, _closing(send), [_RETRY_AFTER])
        else:
            await app(scope, receive, _closing(send))

    return answer


def _closing(send: Send) -> Send:
    async def closed(message: Message) -> None:
        if message["type"] == "http.response.start":
            message["headers"] = [*message.get("headers", []), _CLOSE]
        await send(message)

    return closed
