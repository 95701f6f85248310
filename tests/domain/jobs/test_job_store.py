"""The job store, on a fake engine and a clock that is set by hand."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from litestar_diffusion.domain.errors import (
    Cancelled,
    ExpiredJob,
    GenerationFailed,
    IdempotencyConflict,
    InvalidRequest,
    QueueFull,
    UnknownJob,
    UnknownModel,
    UnusableModel,
)
from litestar_diffusion.domain.generator import Generated
from litestar_diffusion.domain.jobs.job_store import JobPolicy, JobStore
from litestar_diffusion.domain.jobs.record import JobQuery
from litestar_diffusion.domain.jobs.retention import Retention
from litestar_diffusion.domain.jobs.tracked_job import TrackedJob
from litestar_diffusion.domain.models.components import LoadProgress
from litestar_diffusion.domain.models.spec import ModelName
from litestar_diffusion.domain.requests.parameters import GenerationParameters, OutputFormat
from litestar_diffusion.domain.requests.progress import StepProgress
from litestar_diffusion.domain.requests.rendering import ImageWriter, RawImage
from litestar_diffusion.infra.image_encoding import PillowImageWriter
from litestar_diffusion.settings import LimitsSettings, Settings
from litestar_diffusion.testing import FakeEngine, fake_services, model

BODY = GenerationParameters(prompt="x", seed=1, num_inference_steps=3, reproducible=True)
OTHER = GenerationParameters(prompt="y", seed=1, num_inference_steps=3, reproducible=True)


class InstantWriter(PillowImageWriter):
    """Encodes in no time, as the fake engine renders; 64 bytes an image."""

    async def write(self, image: RawImage, fmt: OutputFormat, quality: int, facts: dict[str, str]) -> bytes:
        return bytes(image.width)


class BrokenWriter(PillowImageWriter):
    """Fails with an unexpected error."""

    async def write(self, image: RawImage, fmt: OutputFormat, quality: int, facts: dict[str, str]) -> bytes:
        raise ZeroDivisionError


class Bench:
    def __init__(
        self,
        policy: JobPolicy | None = None,
        max_waiting: int = 64,
        writer: ImageWriter | None = None,
        engine: FakeEngine | None = None,
    ) -> None:
        self.engine, self.now = engine or FakeEngine(), 1000.0
        self.ended: list[TrackedJob] = []
        limits = Settings(limits=LimitsSettings(max_waiting=max_waiting))
        services = fake_services(
            model("a"), replace(model("broken"), unusable="a pickle"), settings=limits, engine=self.engine
        )
        self.pool, self.dispatcher = services.pool, services.dispatcher
        services.generator._writer = writer = writer or PillowImageWriter()
        self.jobs = JobStore(
            services.generator,
            writer,
            policy,
            now=self.tick,
            on_ended=self.ended.append,
        )

    def tick(self) -> float:
        """No two jobs are accepted at the same moment."""
        self.now += 1e-6
        return self.now

    async def listed(self, **query: Any) -> list[str]:
        return [job.id for job in await self.jobs.page(JobQuery(**query))]


def kinds(job: TrackedJob) -> list[str]:
    return [event.kind for event in job.log.after(0)]


def run(scenario: Callable[[], Awaitable[Any]]) -> None:
    async def bounded() -> None:
        await asyncio.wait_for(scenario(), 30)

    asyncio.run(bounded())


async def rounds(count: int = 50) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


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


def test_a_job_ends_early_with_its_images_if_it_runs_and_without_any_before() -> None:
    async def scenario() -> None:
        bench = Bench()
        waiting = await bench.jobs.post("a", BODY)
        bench.jobs.end_early(waiting, "request")
        with pytest.raises(Cancelled):
            await bench.jobs.result(waiting)
        bench.engine.gate.clear()
        running = await bench.jobs.post("a", BODY)
        while running.state != "running":  # noqa: ASYNC110 - the fake engine has no event for it
            await asyncio.sleep(0)
        bench.jobs.end_early(running, "request")
        bench.engine.gate.set()
        (image,) = (await bench.jobs.result(running)).images
        await rounds()
        assert (image.unfinished, running.state, running.steps_done) == (True, "done", 1)

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


@pytest.mark.parametrize(
    ("policy", "kept"),
    [
        (JobPolicy(retention=Retention(keep_s=10)), 0),
        (JobPolicy(retention=Retention(max_finished=2)), 2),
        (JobPolicy(retention=Retention(max_result_nbytes=0)), 0),
        (JobPolicy(), 4),
    ],
)
def test_finished_jobs_expire_and_differ_from_unknown_ones(policy: JobPolicy, kept: int) -> None:
    async def scenario() -> None:
        bench = Bench(policy)
        jobs = [await bench.jobs.post("a", BODY) for _ in range(4)]
        await asyncio.gather(*(bench.jobs.result(job) for job in jobs))
        await rounds()
        bench.now += 11
        assert len(await bench.listed()) == kept
        assert len(await bench.listed(state="done")) == kept
        for job in sorted(jobs, key=lambda job: job.ended or 0)[: 4 - kept]:
            with pytest.raises(ExpiredJob):
                await bench.jobs.get(job.id)
        with pytest.raises(UnknownJob):
            await bench.jobs.get("never")

    run(scenario)


def test_previews_come_as_images_and_only_if_requested() -> None:
    async def scenario(previews: bool) -> None:
        bench = Bench(writer=InstantWriter())
        job = await bench.jobs.post("a", GenerationParameters(prompt="x", num_inference_steps=20, previews=previews))
        await bench.jobs.result(job)
        found = [event for event in job.log.after(0) if event.kind == "preview"]
        assert bool(found) == previews
        assert all(event.data["media_type"] == "image/jpeg" for event in found)

    run(lambda: scenario(False))
    run(lambda: scenario(True))


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


def test_an_unexpected_failure_becomes_an_internal_error_with_its_cause() -> None:
    async def scenario() -> None:
        bench = Bench(writer=BrokenWriter())
        job = await bench.jobs.post("a", BODY)
        await asyncio.wait([job.work])
        await rounds()
        assert (job.state, bench.ended) == ("failed", [job])
        assert job.failure is not None
        assert job.failure.code == "internal_error"
        assert isinstance(job.failure.__cause__, ZeroDivisionError)

    run(scenario)


def kept_nbytes(bench: Bench) -> int:
    """Bytes of the images that are kept."""
    return sum(job.nbytes for job in bench.jobs.repository._jobs.values())


def test_images_are_freed_without_any_request() -> None:
    async def scenario() -> None:
        bench = Bench(JobPolicy(retention=Retention(keep_s=0.05)))
        bench.jobs._now = time.time  # its timers are the event loop's
        job = await bench.jobs.post("a", BODY)
        await bench.jobs.result(job)
        assert kept_nbytes(bench) > 0
        while kept_nbytes(bench):  # noqa: ASYNC110 - nothing may touch the store but its own timer
            await asyncio.sleep(0.01)

    run(scenario)


def test_results_stay_within_their_memory_limit() -> None:
    async def scenario() -> None:
        bench = Bench(JobPolicy(retention=Retention(max_result_nbytes=150)), writer=InstantWriter())
        for _ in range(4):
            await bench.jobs.result(await bench.jobs.post("a", BODY))
            await rounds()
            assert 0 < kept_nbytes(bench) <= 150

    run(scenario)


class StartingEngine(FakeEngine):
    """Starts when its gate is opened."""

    async def start(self) -> None:
        await self.gate.wait()


def test_jobs_are_refused_while_the_engine_starts_too() -> None:
    async def scenario() -> None:
        bench = Bench(JobPolicy(max_unfinished=3), engine=StartingEngine())
        bench.engine.gate.clear()
        jobs = [await bench.jobs.post("a", BODY) for _ in range(3)]
        with pytest.raises(QueueFull):
            await bench.jobs.post("a", BODY)
        bench.engine.gate.set()
        await asyncio.gather(*(bench.jobs.result(job) for job in jobs))
        await bench.jobs.result(await bench.jobs.post("a", BODY))

    run(scenario)


def tracked() -> TrackedJob:
    return TrackedJob(id="1", model=ModelName("a"), client="", created=0.0)


def test_the_estimate_comes_from_the_steps_so_far_and_falls_between_steps() -> None:
    job = tracked()
    assert job.remaining_s(0) is None
    job.note(StepProgress(done=0, total=10), 100.0)
    assert job.remaining_s(101) is None
    job.note(StepProgress(done=2, total=10), 104.0)
    assert job.remaining_s(104) == 16
    assert job.remaining_s(105) == 15
    assert job.remaining_s(500) == 0


def test_a_phase_of_a_load_gets_a_hundred_events_and_one_for_its_end() -> None:
    job = tracked()
    for phase in ("download", "read"):
        for done in range(10_001):
            job.note(LoadProgress(phase=phase, done_nbytes=done, total_nbytes=10_000), 0.0)
    reported = [event.data for event in job.log.after(0)]
    assert len(reported) == 202
    assert reported[-1] == {"phase": "read", "done_nbytes": 10_000, "total_nbytes": 10_000}


def test_a_job_is_found_by_its_client_alone_also_after_it_has_expired() -> None:
    async def main() -> None:
        bench = Bench(JobPolicy(retention=Retention(keep_s=10)))
        mine = await bench.jobs.post("a", BODY, client="me")
        theirs = await bench.jobs.post("a", OTHER, client="them")
        await asyncio.wait([mine.work, theirs.work])
        assert await bench.listed(owner="me") == [mine.id]
        assert await bench.listed(owner="third") == []
        assert await bench.listed() == [theirs.id, mine.id]
        assert (await bench.jobs.get(mine.id, "me")).id == (await bench.jobs.get(mine.id)).id == mine.id
        for foreign in (bench.jobs.get, bench.jobs.cancel):
            with pytest.raises(UnknownJob):
                await foreign(mine.id, "them")
        bench.now += 100
        with pytest.raises(ExpiredJob):
            await bench.jobs.get(mine.id, "me")
        with pytest.raises(UnknownJob):
            await bench.jobs.get(mine.id, "them")

    asyncio.run(main())


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
