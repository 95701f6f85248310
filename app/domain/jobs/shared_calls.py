"""Calls of the same client with the same idempotency key share one piece of work, and its result for some time."""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from ..errors import IdempotencyConflict
from ..uncancellable import consume_exception

_T = TypeVar("_T")


@dataclass(slots=True, eq=False)
class _Shared(Generic[_T]):
    body: bytes
    """Digest of the request."""
    work: "asyncio.Task[_T]"
    waiters: int = 0
    ended_s: float | None = None


class SharedCalls(Generic[_T]):
    """Work in flight and finished, by client and key. Event loop only.

    Work that fails is forgotten, so that a request that is sent again begins anew. Work whose last waiter leaves is cancelled.
    """

    def __init__(self, *, keep_s: float, max_kept: int, clock: Callable[[], float] = time.monotonic) -> None:
        """Keep nothing yet.

        Args:
            keep_s: seconds for which a result is kept.
            max_kept: results that are kept.
            clock: seconds, monotonic.
        """
        self._keep_s = keep_s
        self._max_kept = max_kept
        self._clock = clock
        self._calls: OrderedDict[tuple[str, str], _Shared[_T]] = OrderedDict()

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
        shared.ended_s = self._clock()
        failed = shared.work.cancelled() or shared.work.exception() is not None
        if failed and self._calls.get(key) is shared:
            del self._calls[key]

    def _expire(self) -> None:
        oldest_s = self._clock() - self._keep_s
        ended = [key for key, shared in self._calls.items() if shared.ended_s is not None]
        old = {key for key in ended if (self._calls[key].ended_s or 0.0) < oldest_s}
        for key in (*old, *[key for key in ended if key not in old][: -self._max_kept or None]):
            del self._calls[key]
