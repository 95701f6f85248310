"""Gives memory back to the system after large bodies and answers."""

from litestar.types import ASGIApp, HTTPReceiveMessage, Message, Receive, Scope, Send, WebSocketReceiveMessage

from ...domain.freed_memory import FreedMemory


class MemoryReturn:
    """Wraps the application; counts what passes. Event loop only."""

    def __init__(self, app: ASGIApp, freed: FreedMemory) -> None:
        self._app = app
        self._freed = freed

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Wrap one request: its body is on disk or decoded once it is here, all else is free once the request has ended."""
        nbytes = 0

        async def counted_receive() -> HTTPReceiveMessage | WebSocketReceiveMessage:
            nonlocal nbytes
            message = await receive()
            if message["type"] == "http.request":
                nbytes += len(message.get("body", b""))
                if not message.get("more_body", False):
                    self._freed.note(nbytes)
            return message

        async def counted_send(message: Message) -> None:
            nonlocal nbytes
            if message["type"] == "http.response.body":
                nbytes += len(message.get("body", b""))
            await send(message)

        try:
            await self._app(scope, counted_receive, counted_send)
        finally:
            self._freed.note(nbytes)
