"""The bodies of all requests: how slowly they may come, and how many bytes of them there may be. Event loop only."""

import asyncio
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from litestar.types import HTTPReceiveMessage, Receive, WebSocketReceiveMessage

from ....domain.errors import BodiesFull, BodyTooSlow, Cancelled, ShuttingDown
from ..addresses import AddressRules


@dataclass(frozen=True, slots=True, kw_only=True)
class BodyLimits:
    """How slow and how large."""

    timeout_s: float
    """Seconds of waiting for a body, besides those that it takes at `min_bytes_per_s`."""
    min_bytes_per_s: float
    max_nbytes: int
    """Bytes of the bodies of all requests together."""


class IncomingBodies:
    """Bytes that are held for requests, from their arrival until their request is answered."""

    def __init__(self, limits: BodyLimits, addresses: AddressRules) -> None:
        self._limits = limits
        self._addresses = addresses
        self._held: Counter[str] = Counter()
        self._waiting: set[asyncio.Timeout] = set()
        self._ended = False

    @property
    def held_nbytes(self) -> int:
        """Bytes of all bodies."""
        return self._held.total()

    @contextmanager
    def of(self, client: tuple[str, int] | None, receive: Receive) -> "Iterator[Receive]":
        """Return a `receive` for one request, whose body is held until the end of the context."""
        group = self._addresses.group_of(client[0] if client else "")
        body = _Body(self, group or "", receive)
        try:
            yield body.receive
        finally:
            self._held[body.group] -= body.nbytes
            if self._held[body.group] <= 0:
                del self._held[body.group]

    def begin(self) -> None:
        """Wait for bodies, in a new lifespan."""
        self._ended = False

    def end(self) -> None:
        """Wait for no body any longer: the server is shutting down."""
        self._ended = True
        now = asyncio.get_running_loop().time()
        for waiting in self._waiting:
            waiting.reschedule(now)

    def take(self, body: "_Body", nbytes: int) -> None:
        """Count bytes that have come.

        Raises:
            BodiesFull: there is no memory for them.
        """
        total, own, most = self.held_nbytes, self._held[body.group], self._limits.max_nbytes
        left = most - total - nbytes
        # As for places in the queue: an address may hold as many as are left, so there is room for the next one. Behind a proxy
        # there are many clients, which are not told apart here.
        if left < 0 or (body.group and own + nbytes > left):
            raise BodiesFull(total, own, most)
        self._held[body.group] += nbytes
        body.nbytes += nbytes

    async def wait(self, body: "_Body") -> Any:
        """Wait for the next message of a body.

        Raises:
            BodyTooSlow, ShuttingDown: it does not come in time.
        """
        loop, limits = asyncio.get_running_loop(), self._limits
        begun = loop.time()
        allowed_s = limits.timeout_s + body.nbytes / limits.min_bytes_per_s - body.waited_s
        # Once the server ends, only what has come is taken: requests without a body are still answered.
        waiting = asyncio.timeout(0 if self._ended else allowed_s)
        self._waiting.add(waiting)
        try:
            async with waiting:
                return await body.inner()
        except TimeoutError:
            if self._ended:
                raise _going_down() from None
            raise BodyTooSlow(body.nbytes, body.waited_s + loop.time() - begun) from None
        finally:
            self._waiting.discard(waiting)
            body.waited_s += loop.time() - begun


@dataclass(slots=True, eq=False)
class _Body:
    """The body of one request."""

    bodies: IncomingBodies
    group: str
    inner: Receive
    nbytes: int = field(default=0, init=False)
    waited_s: float = field(default=0.0, init=False)
    whole: bool = field(default=False, init=False)

    async def receive(self) -> HTTPReceiveMessage | WebSocketReceiveMessage:
        """Return the next message; once the body is whole, nothing is limited, because only the client's end is waited for."""
        if self.whole:
            return await self.inner()
        message = await self.bodies.wait(self)
        if message["type"] != "http.request":
            raise Cancelled("The client left before the body of its request was whole.")
        if body := message.get("body"):
            self.bodies.take(self, len(body))
        self.whole = not message.get("more_body", False)
        return message


def _going_down() -> ShuttingDown:
    return ShuttingDown("The server is shutting down; the body of the request had not come yet.")
