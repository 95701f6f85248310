"""Calls of the same client with the same idempotency key share one piece of work, and its result for some time."""

import asyncio
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from ..errors import IdempotencyConflict
from ..uncancellable import consume_exception
from .keeping.retention import Retention

_T = TypeVar("_T")

_SOONEST_S = 0.01
"""Shortest time until the timer, in seconds, because the clocks of results and of timers may differ a little."""


@dataclass(slots=True, eq=False)
class _Shared(Generic[_T]):
    body: bytes
    """Digest of the request."""
    work: "asyncio.Task[_T]"
    waiters: int = 0
    ended_s: float | None = None
    nbytes: int = 0


class SharedCalls(Generic[_T]):
    """Work in flight and finished, by client and key. Event loop only.

    Work that fails is forgotten, so that a request that is sent again begins anew. Work whose last waiter leaves is cancelled.
    """

    def __init__(
        self, retention: Retention, nbytes_of: Callable[[_T], int], *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Keep nothing yet.

        Args:
            retention: which results are kept; the oldest are dropped first.
            nbytes_of: bytes of memory that a result takes.
            clock: seconds, monotonic.
        """
        self._retention = retention
        self._nbytes_of = nbytes_of
        self._clock = clock
        self._calls: dict[tuple[str, str], _Shared[_T]] = {}
        self._timer: asyncio.TimerHandle | None = None

    async def run(self, client: str, key: str, body: bytes, begin: Callable[[], Coroutine[Any, Any, _T]]) -> _T:
        """Return the result of the work of a key; begin it if there is none.

        Args:
            client: name of the sender; each client has its own keys.
            key: idempotency key.
            body: digest of the request.
            begin: makes the work.

        Raises:
            IdempotencyConflict: the key was sent before with another request.
        """
        self._expire()
        shared = self._calls.get((client, key))
        if shared is not None and shared.body != body:
            raise IdempotencyConflict(key)
        if shared is None:
            shared = self._calls[client, key] = _Shared(body, asyncio.ensure_future(begin()))
            begun = shared
            shared.work.add_done_callback(lambda _: self._ended((client, key), begun))
        shared.waiters += 1
        try:
            return await asyncio.shield(shared.work)
        finally:
            shared.waiters -= 1
            if not shared.waiters and not shared.work.done():
                del self._calls[client, key]  # a call that comes now must not join what ends
                shared.work.cancel()
                # The work gives its lease back; only then is the request over.
                await asyncio.wait([shared.work])

    def _ended(self, key: tuple[str, str], shared: _Shared[_T]) -> None:
        consume_exception(shared.work)
        if self._calls.get(key) is not shared:
            return
        if shared.work.cancelled() or shared.work.exception() is not None:
            del self._calls[key]
            return
        shared.ended_s, shared.nbytes = self._clock(), self._nbytes_of(shared.work.result())
        self._expire()

    def _expire(self) -> None:
        """Drop the results that are beyond a limit."""
        now, limits = self._clock(), self._retention
        ended = [(shared.ended_s, key) for key, shared in self._calls.items() if shared.ended_s is not None]
        nbytes = 0
        for place, (ended_s, key) in enumerate(sorted(ended, reverse=True), 1):
            nbytes += self._calls[key].nbytes
            old = now - ended_s >= limits.keep_s
            if old or place > limits.max_finished or nbytes > limits.max_result_nbytes:
                del self._calls[key]
        self._set_timer(now)

    def _set_timer(self, now: float) -> None:
        """Set a timer for the oldest result, so that its memory is freed even if no request comes."""
        ended = [shared.ended_s for shared in self._calls.values() if shared.ended_s is not None]
        if self._timer is None and ended:
            left_s = max(min(ended) + self._retention.keep_s - now, _SOONEST_S)
            self._timer = asyncio.get_running_loop().call_later(left_s, self._on_timer)

    def _on_timer(self) -> None:
        self._timer = None
        self._expire()
