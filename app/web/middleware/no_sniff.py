"""Keeps browsers from guessing that an answer is something else than its content type says."""

from litestar.types import ASGIApp, Message, Receive, Scope, Send

_HEADER = (b"x-content-type-options", b"nosniff")


def no_sniff(app: ASGIApp) -> ASGIApp:
    """Add `X-Content-Type-Options: nosniff` to every answer that does not have it."""

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        async def with_header(message: Message) -> None:
            if message["type"] == "http.response.start" and _HEADER not in message["headers"]:
                message["headers"] = [*message["headers"], _HEADER]
            await send(message)

        await app(scope, receive, with_header if scope["type"] == "http" else send)

    return answer
