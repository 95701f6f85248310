"""Requests with the same idempotency key share one job."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from litestar_diffusion.domain.errors import (
    GenerationFailed,
    IdempotencyConflict,
)
from litestar_diffusion.domain.generator import Generated
from litestar_diffusion.domain.jobs.tracked_job import TrackedJob
from tests.domain.jobs.bench import BODY, OTHER, Bench, kinds, rounds, run


def test_the_same_key_and_body_join_the_work_in_flight_and_get_its_answer_later() -> None:
    async def scenario() -> None:
        bench = Bench()
        bench.engine.gate.clear()
        first = await bench.jobs.post("a", BODY, client="me", key="k")
        assert await bench.jobs.post("a", BODY, client="me", key="k") is first
        other = await bench.jobs.post("a", BODY, client="you", key="k")
        assert other is not first
        with pytest.raises(IdempotencyConflict):
            await bench.jobs.post("a", OTHER, client="me", key="k")
        bench.engine.gate.set()
        generated = await bench.jobs.result(first)
        again = await bench.jobs.post("a", BODY, client="me", key="k")
        assert await bench.jobs.result(again) is generated
        assert await bench.jobs.result(other) is not generated
        assert len(bench.engine.requests) == 2

    run(scenario)


def test_a_key_whose_job_failed_may_be_used_again() -> None:
    async def scenario() -> None:
        bench = Bench()
        bench.engine.failures["generate"] = GenerationFailed("injected")
        failed = await bench.jobs.post("a", BODY, key="k")
        with pytest.raises(GenerationFailed):
            await bench.jobs.result(failed)
        await rounds()
        assert (failed.state, kinds(failed)[-1]) == ("failed", "failed")
        assert len((await bench.jobs.result(await bench.jobs.post("a", BODY, key="k"))).images) == 1

    run(scenario)


def test_a_request_that_may_ask_again_has_a_joined_job_kept() -> None:
    async def scenario() -> None:
        bench = Bench()
        bench.engine.gate.clear()
        once = asyncio.create_task(bench.jobs.run("a", BODY, key="k", join="in_flight"))
        await rounds()
        job = await bench.jobs.post("a", BODY, key="k")
        bench.engine.gate.set()
        assert await once is await bench.jobs.result(job)
        await rounds()
        assert await bench.listed() == [job.id]

    run(scenario)


def test_a_key_starts_a_new_job_as_soon_as_the_old_one_is_being_cancelled() -> None:
    """A client that timed out tries again at once, while the engine is still in a step of the cancelled job."""

    async def scenario(give_up: Callable[[Bench, TrackedJob, "asyncio.Task[Generated]"], Any]) -> None:
        bench = Bench()
        bench.engine.gate.clear()
        waiter = asyncio.create_task(bench.jobs.run("a", BODY, key="k"))
        while not bench.engine.running:  # noqa: ASYNC110 - the request is resolved in a thread
            await asyncio.sleep(0)
        (first,) = bench.jobs.in_flight
        ending = give_up(bench, first, waiter)
        await rounds()
        assert not first.over
        retry = asyncio.create_task(bench.jobs.run("a", BODY, key="k"))
        await rounds()
        bench.engine.gate.set()
        assert len((await retry).images) == 1
        assert first.state == "cancelled"
        await asyncio.gather(waiter, *([ending] if ending else []), return_exceptions=True)

    run(lambda: scenario(lambda _bench, _job, waiter: waiter.cancel() and None))
    run(lambda: scenario(lambda bench, job, _waiter: asyncio.ensure_future(bench.jobs.cancel(job.id))))
