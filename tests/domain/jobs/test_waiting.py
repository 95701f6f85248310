"""Jobs and the clients that wait for them."""

import asyncio

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from litestar_diffusion.domain.errors import (
    GenerationFailed,
)
from litestar_diffusion.domain.generator import Generated
from litestar_diffusion.domain.jobs.tracked_job import TrackedJob
from litestar_diffusion.domain.requests.parameters import GenerationParameters
from tests.domain.jobs.bench import BODY, Bench, InstantWriter, rounds, run


@pytest.mark.parametrize("detached", [True, False])
def test_work_ends_when_its_last_waiter_leaves_unless_it_is_detached(detached: bool) -> None:
    async def scenario() -> None:
        bench = Bench()
        bench.engine.gate.clear()
        job = await bench.jobs.post("a", BODY, key="k", detached=detached)
        waiters = [asyncio.create_task(bench.jobs.result(job)) for _ in range(2)]
        await rounds()
        waiters[0].cancel()
        await rounds()
        assert not job.work.done()
        waiters[1].cancel()
        await rounds()
        bench.engine.gate.set()
        await asyncio.wait([job.work])
        await rounds()
        assert job.state == ("done" if detached else "cancelled")
        assert bench.pool.stats().leases == 0

    run(scenario)


def test_a_job_of_one_request_is_forgotten_once_its_outcome_is_delivered() -> None:
    async def scenario() -> None:
        bench = Bench()
        for _ in range(2):
            await bench.jobs.run("a", BODY, key="k", join="in_flight")
            await rounds()
            assert await bench.listed() == []
        assert len(bench.engine.requests) == 2
        bench.engine.failures["generate"] = GenerationFailed("injected")
        with pytest.raises(GenerationFailed):
            await bench.jobs.run("a", BODY, key="k", join="in_flight")
        await rounds()
        assert await bench.listed() == []

    run(scenario)


def test_an_outcome_that_reached_no_client_waits_for_the_one_that_comes_back() -> None:
    async def scenario() -> None:
        bench = Bench()
        bench.engine.gate.clear()
        first = asyncio.create_task(bench.jobs.run("a", BODY, key="k", join="in_flight", linger_s=1000))
        await rounds()
        first.cancel()
        await rounds()
        bench.engine.gate.set()
        (job,) = bench.jobs.in_flight
        await asyncio.wait([job.work])
        assert await bench.jobs.run("a", BODY, key="k", join="in_flight", linger_s=1000) is job.result
        await rounds()
        assert (await bench.listed(), len(bench.engine.requests)) == ([], 1)

    run(scenario)


@settings(max_examples=80, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(["join", "leave", "send", "step"]), st.integers(0, 9)), max_size=30))
@example([("join", 0), ("step", 1), ("send", 0), ("leave", 0), ("step", 3)])
@example([("join", 0), ("step", 1), ("leave", 0), ("join", 0), ("step", 3)])
def test_a_waiter_that_stays_gets_an_image_even_if_others_leave(actions: list[tuple[str, int]]) -> None:
    async def scenario() -> None:
        bench, waiters, sent = Bench(writer=InstantWriter()), list[asyncio.Task[Generated]](), list[TrackedJob]()
        body = GenerationParameters(prompt="x", num_inference_steps=9, reproducible=True)
        for action, number in actions:
            if action == "join":
                waiters.append(asyncio.create_task(bench.jobs.run("a", body, key="k")))
            elif action == "send":
                sent.append(await bench.jobs.post("a", body, key="k"))
            elif action == "leave" and waiters:
                waiters[number % len(waiters)].cancel()
            else:
                await rounds(number)
        left = {waiter for waiter in waiters if waiter.cancelling()}
        outcomes = await asyncio.gather(*waiters, return_exceptions=True)
        stayed = [outcome for waiter, outcome in zip(waiters, outcomes, strict=True) if waiter not in left]
        assert all(isinstance(outcome, Generated) for outcome in stayed), outcomes
        assert all([(await bench.jobs.result(job)).images for job in sent]), "detached jobs continue without waiters"
        await rounds()
        assert (bench.dispatcher.depth, bench.pool.stats().leases) == (0, 0)
        assert bench.jobs.in_flight == []

    run(scenario)
