"""Gives memory back to the system after large bodies and answers: the heap of this process keeps what is freed, for images."""

import asyncio
import time
from collections.abc import Callable

from litestar.types import ASGIApp, HTTPReceiveMessage, Message, Receive, Scope, Send, WebSocketReceiveMessage

_WORTH_NBYTES = 64_000_000
"""Bytes of bodies and answers of requests that have ended, after which there may be something to give back."""
_SETTLE_S = 1.0
"""Seconds in which other requests of the same burst end, too."""
_PAUSE_S = 10.0
"""Least seconds between two times, because images that are being made need the pages again at once."""


class MemoryReturn:
    """Wraps the application; counts what passes. Event loop only."""

    def __init__(
        self, app: ASGIApp, give_back: Callable[[], None], *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Count nothing yet.

        Args:
            app: the application.
            give_back: blocks for milliseconds; called in a thread.
            clock: seconds, monotonic.
        """
        self._app = app
        self._give_back = give_back
        self._clock = clock
        self._freed_nbytes = 0
        self._last_s = float("-inf")
        self._giving: asyncio.Future[None] | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Wrap one request."""
        nbytes = 0

        async def counted_receive() -> HTTPReceiveMessage | WebSocketReceiveMessage:
            nonlocal nbytes
            message = await receive()
            if message["type"] == "http.request":
                nbytes += len(message["body"])
            return message

        async def counted_send(message: Message) -> None:
            nonlocal nbytes
            if message["type"] == "http.response.body":
                nbytes += len(message["body"])
            await send(message)

        try:
            await self._app(scope, counted_receive, counted_send)
        finally:
            self._freed_nbytes += nbytes
            if self._freed_nbytes >= _WORTH_NBYTES:
                self._begin()

    def _begin(self) -> None:
        """Give back soon: once this request has let go of its memory, and not too often."""
        if self._giving is None or self._giving.done():
            self._giving = asyncio.ensure_future(self._return())

    async def _return(self) -> None:
        await asyncio.sleep(max(_SETTLE_S, self._last_s + _PAUSE_S - self._clock()))
        self._freed_nbytes = 0
        await asyncio.to_thread(self._give_back)
        self._last_s = self._clock()
