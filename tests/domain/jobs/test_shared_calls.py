"""Calls with the same idempotency key share one piece of work."""

import asyncio
import time
import weakref
from collections.abc import Callable
from typing import Any

import pytest

from litestar_diffusion.domain.errors import IdempotencyConflict
from litestar_diffusion.domain.jobs.keeping.retention import Retention
from litestar_diffusion.domain.jobs.shared_calls import SharedCalls


def shared_calls(clock: Callable[[], float] = time.monotonic, **limits: Any) -> SharedCalls[int]:
    """Results of which each takes ten bytes."""
    return SharedCalls(Retention(**{"keep_s": 10, "max_finished": 2, **limits}), lambda _: 10, clock=clock)


class Work:
    """Counts its beginnings, and waits until it is let go."""

    def __init__(self) -> None:
        self.begun = self.cancelled = 0
        self.go = asyncio.Event()

    async def run(self) -> int:
        self.begun += 1
        try:
            await self.go.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        return self.begun


def test_equal_calls_share_work_and_its_result_until_it_expires() -> None:
    async def scenario() -> None:
        now = 0.0
        calls, work = shared_calls(clock=lambda: now), Work()
        both = [asyncio.create_task(calls.run("c", "k", b"1", work.run)) for _ in range(2)]
        await asyncio.sleep(0)
        work.go.set()
        assert await asyncio.gather(*both) == [1, 1]
        assert await calls.run("c", "k", b"1", work.run) == 1
        with pytest.raises(IdempotencyConflict):
            await calls.run("c", "k", b"2", work.run)
        assert await calls.run("other", "k", b"2", work.run) == 2
        now = 11.0
        assert await calls.run("c", "k", b"1", work.run) == 3

    asyncio.run(scenario())


def test_work_ends_with_its_last_caller_and_begins_anew_for_the_next() -> None:
    async def scenario() -> None:
        calls, work = shared_calls(), Work()
        one, other = (asyncio.create_task(calls.run("c", "k", b"1", work.run)) for _ in range(2))
        await asyncio.sleep(0)
        one.cancel()
        await asyncio.wait([one])
        assert not work.cancelled
        other.cancel()
        await asyncio.wait([other])
        assert work.cancelled == 1
        work.go.set()
        assert await calls.run("c", "k", b"1", work.run) == 2

    asyncio.run(scenario())


def test_failed_work_is_forgotten() -> None:
    async def scenario() -> None:
        calls = shared_calls()

        async def fail() -> int:
            raise ValueError("once")

        async def succeed() -> int:
            return 7

        with pytest.raises(ValueError, match="once"):
            await calls.run("c", "k", b"1", fail)
        await asyncio.sleep(0)
        assert await calls.run("c", "k", b"1", succeed) == 7

    asyncio.run(scenario())


@pytest.mark.parametrize("limits", [{"max_finished": 1}, {"max_result_nbytes": 19}], ids=["number", "bytes"])
def test_only_the_latest_results_are_kept(limits: dict[str, int]) -> None:
    async def scenario() -> None:
        calls, begun = shared_calls(**limits), 0

        async def work() -> int:
            nonlocal begun
            begun += 1
            return begun

        for key in ("a", "b", "b", "a"):
            await calls.run("c", key, b"1", work)
            await asyncio.sleep(0)
        assert begun == 3

    asyncio.run(scenario())


def test_a_result_is_freed_at_its_age_without_any_request() -> None:
    class Result:
        pass

    async def scenario() -> None:
        calls = SharedCalls[Result](Retention(keep_s=0.05), lambda _: 1)

        async def work() -> Result:
            return Result()

        kept = weakref.ref(await calls.run("c", "k", b"1", work))
        assert kept() is not None
        async with asyncio.timeout(20):
            while kept() is not None:  # noqa: ASYNC110 - nothing may touch the results but their own timer
                await asyncio.sleep(0.01)

    asyncio.run(scenario())
