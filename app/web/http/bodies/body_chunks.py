"""The body of a request as it arrives, within its limit."""

from collections.abc import AsyncIterator, Awaitable, Callable

from litestar.types import HTTPDisconnectEvent, HTTPReceiveMessage, Receive, WebSocketReceiveMessage


class BodyTooLarge(Exception):
    """The body is larger than its limit."""


class ClientGone(Exception):
    """The client left before its body was whole."""


async def body_chunks(receive: Receive, max_nbytes: int) -> AsyncIterator[bytes]:
    """Yield the pieces of a body.

    Raises:
        BodyTooLarge: it is larger.
        ClientGone: the client left.
    """
    read_nbytes = 0
    while True:
        message = await receive()
        if message["type"] != "http.request":
            raise ClientGone
        body = message.get("body", b"")
        read_nbytes += len(body)
        if read_nbytes > max_nbytes:
            raise BodyTooLarge
        if body:
            yield body
        if not message.get("more_body", False):
            return


def read_before(receive: Receive, read: Callable[[], Awaitable[bytes]]) -> Receive:
    """Return a `receive` whose first message is a whole body: what `read` returns once the handler asks for it, after all guards.

    Args:
        receive: of the request; its messages follow.
        read: takes the body from `receive`; may raise `ClientGone`.
    """
    came = False

    async def whole() -> HTTPReceiveMessage | WebSocketReceiveMessage:
        nonlocal came
        if came:
            return await receive()
        came = True
        try:
            return {"type": "http.request", "body": await read(), "more_body": False}
        except ClientGone:
            return HTTPDisconnectEvent(type="http.disconnect")

    return whole
