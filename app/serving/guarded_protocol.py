"""A connection with limits: uvicorn's own protocol, and beside it what it has no time-out for.

uvicorn's protocol does all the HTTP. This one passes everything on to it, and ends the connection if the header of a request
does not come, if the rest of a body that was answered does not end, or if an answer is not read.
"""

import asyncio
import time
from collections.abc import Callable
from typing import Any, cast

import msgspec

from ..web.http.errors.refusals import header_too_slow
from ..web.http.media_types import PROBLEM
from .connection_limits import ConnectionLimits, UnreadAnswer
from .connections import Connections
from .refusing import refusing


class GuardedProtocol(asyncio.Protocol):
    """Wraps a protocol of uvicorn, over h11 or httptools; both have `app` and `cycle`, the request that came last."""

    def __init__(
        self, inner: asyncio.Protocol, connections: Connections, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._inner: Any = inner
        self._connections = connections
        self._clock = clock
        self._transport = cast("asyncio.Transport", None)
        self._awaiting_header_since_s: float | None = None
        self._heard = False
        self._unread = UnreadAnswer()
        self.address = ""

    @property
    def busy(self) -> bool:
        """Whether a request is being read or answered."""
        cycle = self._inner.cycle
        return cycle is not None and not cycle.response_complete

    @property
    def unsent_nbytes(self) -> int:
        """Bytes that wait for the client to read them."""
        return self._transport.get_write_buffer_size()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin, unless there are too many."""
        self._transport = cast("asyncio.Transport", transport)
        peer = transport.get_extra_info("peername")
        self.address = str(peer[0]) if isinstance(peer, tuple) and peer else ""
        self._awaiting_header_since_s = self._clock()
        refusal = self._connections.admit(self)
        self._inner.connection_made(transport)
        if refusal is not None:
            self._inner.app = refusing(self._inner.app, refusal)

    def data_received(self, data: bytes) -> None:
        """Pass bytes on, and note whether they have completed a header."""
        self._heard = True
        self._connections.heard(self)
        if not self.busy and self._awaiting_header_since_s is None:
            # Of the next request; or the rest of a body that was answered before its end, which must end as soon.
            self._awaiting_header_since_s = self._clock()
        before = self._inner.cycle
        self._inner.data_received(data)
        if self._inner.cycle is not before:
            self._awaiting_header_since_s = None

    def eof_received(self) -> bool | None:
        """Pass on that the client sends no more."""
        return self._inner.eof_received()

    def connection_lost(self, exc: Exception | None) -> None:
        """Pass on that the connection has ended."""
        self._connections.forget(self)
        self._inner.connection_lost(exc)

    def pause_writing(self) -> None:
        """Pass on that the client reads more slowly than answers come."""
        self._inner.pause_writing()

    def resume_writing(self) -> None:
        """Pass on that the client has read nearly all."""
        self._unread.restart()
        self._inner.resume_writing()

    def check(self, now_s: float, limits: ConnectionLimits) -> None:
        """End the connection if it is too slow."""
        self._unread.note(self.unsent_nbytes, now_s)
        if self._unread.is_overdue(now_s, limits):
            self.drop()
        elif (
            not self.busy
            and self._awaiting_header_since_s is not None
            and now_s - self._awaiting_header_since_s > limits.header_timeout_s
        ):
            self._end_without_header(limits.header_timeout_s)

    def drop(self) -> None:
        """End the connection at once; what is not sent yet is lost."""
        self._transport.abort()

    def _end_without_header(self, timeout_s: float) -> None:
        cycle = self._inner.cycle
        between_requests = cycle is None or not cycle.more_body
        if self._heard and between_requests and not self._transport.is_closing():
            self._transport.write(_as_http(msgspec.json.encode(header_too_slow(timeout_s))))
        self._awaiting_header_since_s = None
        self._transport.close()


def _as_http(body: bytes) -> bytes:
    """Return an answer to a request that uvicorn does not know of yet."""
    head = f"HTTP/1.1 408 Request Timeout\r\ncontent-type: {PROBLEM}\r\ncontent-length: {len(body)}\r\nconnection: close\r\n\r\n"
    return head.encode() + body
