"""The body of a request as it arrives, within its limit."""

from collections.abc import AsyncIterator

from litestar.types import Receive


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
