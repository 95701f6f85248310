"""Headers that keep browsers from guessing, framing, embedding and telling on."""

from litestar.types import ASGIApp, Message, Receive, Scope, Send

SECURITY_HEADERS: tuple[tuple[bytes, bytes], ...] = (
    # An answer is what its content type says.
    (b"x-content-type-options", b"nosniff"),
    # No other site learns the address of an image or a job from a link.
    (b"referrer-policy", b"no-referrer"),
    # No other page embeds an answer; scripts of allowed origins read it by CORS, which this does not touch.
    (b"cross-origin-resource-policy", b"same-origin"),
    # No page shows the documentation's buttons in a frame of its own; browsers read the first one, old ones the second.
    (b"content-security-policy", b"frame-ancestors 'none'"),
    (b"x-frame-options", b"DENY"),
)


def security_headers(app: ASGIApp) -> ASGIApp:
    """Add the headers to every answer that does not have them."""

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                stated = {name.lower() for name, _ in message.get("headers", [])}
                added = [(name, value) for name, value in SECURITY_HEADERS if name not in stated]
                message["headers"] = [*message.get("headers", []), *added]
            await send(message)

        await app(scope, receive, with_headers if scope["type"] == "http" else send)

    return answer
