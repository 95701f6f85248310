"""The job store: jobs are started, listed, found and cancelled."""

import asyncio

import pytest

from litestar_diffusion.domain.errors import (
    Cancelled,
    ExpiredJob,
    InvalidRequest,
    QueueFull,
    UnknownModel,
    UnusableModel,
)
from litestar_diffusion.domain.requests.parameters import GenerationParameters
from tests.domain.jobs.bench import BODY, OTHER, Bench, kinds, rounds, run


def test_a_job_tells_its_whole_life() -> None:
    async def scenario() -> None:
        bench = Bench()
        job = await bench.jobs.post("a", BODY)
        assert job.state == "queued"
        generated = await bench.jobs.result(job)
        await rounds()
        assert (job.state, job.result, job.steps_total) == ("done", generated, 3)
        assert list(dict.fromkeys(kinds(job))) == ["queued", "loading", "step", "done"]

    run(scenario)


def test_an_invalid_request_is_refused_before_it_becomes_a_job() -> None:
    async def scenario() -> None:
        bench = Bench(max_waiting=0)
        with pytest.raises(UnknownModel):
            await bench.jobs.post("nope", BODY)
        with pytest.raises(InvalidRequest):
            await bench.jobs.post("a", GenerationParameters(prompt="x", n=99))
        with pytest.raises(UnusableModel):
            await bench.jobs.post("broken", BODY)
        bench.engine.gate.clear()
        first = await bench.jobs.post("a", BODY)
        await rounds()
        with pytest.raises(QueueFull):
            await bench.jobs.post("a", BODY)
        assert await bench.listed() == [first.id]
        bench.engine.gate.set()
        await bench.jobs.result(first)

    run(scenario)


def test_a_cancelled_job_ends_before_its_next_step_and_says_so() -> None:
    async def scenario() -> None:
        bench = Bench()
        job = await bench.jobs.post("a", GenerationParameters(prompt="x", num_inference_steps=100))
        waiting = asyncio.create_task(bench.jobs.result(job))
        while job.steps_done < 2:  # noqa: ASYNC110 - the fake engine has no event for it
            await asyncio.sleep(0)
        await bench.jobs.cancel(job.id)
        await rounds()
        assert (job.state, kinds(job)[-1]) == ("cancelled", "cancelled")
        assert job.steps_done < 20
        with pytest.raises(Cancelled):
            await waiting
        await bench.jobs.cancel(job.id)  # removes it, because it has ended
        with pytest.raises(ExpiredJob):
            await bench.jobs.get(job.id)

    run(scenario)


def test_what_admits_a_job_is_asked_for_new_ones_alone_and_may_refuse() -> None:
    async def main() -> None:
        bench, asked = Bench(), 0

        def admit() -> None:
            nonlocal asked
            asked += 1
            if asked > 1:
                raise QueueFull(1, retry_after_s=1)

        first = await bench.jobs.post("a", BODY, key="k", admit=admit)
        assert await bench.jobs.post("a", BODY, key="k", admit=admit) is first
        assert asked == 1
        with pytest.raises(InvalidRequest):
            await bench.jobs.post("a", GenerationParameters(prompt="x", width=3), admit=admit)
        assert asked == 1
        with pytest.raises(QueueFull):
            await bench.jobs.post("a", OTHER, admit=admit)
        assert await bench.listed() == [first.id]

    asyncio.run(main())
