"""Sends large answers in slices, so that a client that reads slowly holds one slice in memory, and not its whole answer.

A server copies what it is given at once to the buffer of the connection, and makes the sender wait once that is full.
"""

from litestar.types import ASGIApp, Message, Receive, Scope, Send

SLICE_NBYTES = 65_536


def sliced_answers(app: ASGIApp) -> ASGIApp:
    """Cut the bodies of answers into slices."""

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        async def sliced(message: Message) -> None:
            if message["type"] != "http.response.body" or len(message.get("body", b"")) <= SLICE_NBYTES:
                await send(message)
                return
            body, more_body = message.get("body", b""), message.get("more_body", False)
            last = (len(body) - 1) // SLICE_NBYTES * SLICE_NBYTES
            for begin in range(0, last, SLICE_NBYTES):
                part = body[begin : begin + SLICE_NBYTES]
                await send({"type": "http.response.body", "body": part, "more_body": True})
            await send({"type": "http.response.body", "body": body[last:], "more_body": more_body})

        await app(scope, receive, sliced if scope["type"] == "http" else send)

    return answer
