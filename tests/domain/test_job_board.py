"""Jobs that can be asked for: on a fake engine and a clock that is set by hand."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from litestar_diffusion.domain.errors import (
    Cancelled,
    ExpiredJob,
    GenerationFailed,
    IdempotencyConflict,
    InvalidRequest,
    QueueFull,
    UnknownJob,
    UnknownModel,
)
from litestar_diffusion.domain.generation import GenerationParameters, OutputFormat
from litestar_diffusion.domain.job_board import JobBoard, JobPolicy
from litestar_diffusion.domain.ports import ImageWriter, RawImage
from litestar_diffusion.infra.images import PillowImageWriter
from litestar_diffusion.settings import LimitsSettings, Settings
from litestar_diffusion.testing import FakeEngine, fake_services, model

BODY = GenerationParameters(prompt="x", seed=1, num_inference_steps=3, reproducible=True)
OTHER = GenerationParameters(prompt="y", seed=1, num_inference_steps=3, reproducible=True)


class InstantWriter(PillowImageWriter):
    """Takes no time, as the fake engine does not either."""

    async def write(self, image: RawImage, fmt: OutputFormat, quality: int, facts: dict[str, str]) -> bytes:
        return bytes(image.width)


class Bench:
    def __init__(
        self, policy: JobPolicy | None = None, max_waiting: int = 64, writer: ImageWriter | None = None
    ) -> None:
        self.engine, self.now = FakeEngine(), 1000.0
        settings = Settings(limits=LimitsSettings(max_waiting=max_waiting))
        services = fake_services(model("a"), settings=settings, engine=self.engine)
        self.pool = services.pool
        self.board = JobBoard(services.generator, writer or PillowImageWriter(), policy, now=lambda: self.now)

    def kinds(self, job_id: str) -> list[str]:
        return [event.kind for event in self.board.get(job_id).log.after(0)]


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
        job = bench.board.post("a", BODY)
        assert job.state == "queued"
        generated = await bench.board.result(job)
        await rounds()
        assert (job.state, job.result, job.steps_total) == ("done", generated, 3)
        kinds = bench.kinds(job.id)
        assert list(dict.fromkeys(kinds)) == ["queued", "loading", "step", "done"]

    run(scenario)


def test_what_is_wrong_with_a_request_is_said_before_it_becomes_a_job() -> None:
    async def scenario() -> None:
        bench = Bench(max_waiting=0)
        with pytest.raises(UnknownModel):
            bench.board.post("nope", BODY)
        with pytest.raises(InvalidRequest):
            bench.board.post("a", GenerationParameters(prompt="x", n=99))
        bench.engine.gate.clear()
        first = bench.board.post("a", BODY)
        await rounds()
        with pytest.raises(QueueFull):
            bench.board.post("a", BODY)
        assert bench.board.all() == [first]
        bench.engine.gate.set()
        await bench.board.result(first)

    run(scenario)


def test_the_same_key_and_body_join_the_work_in_flight_and_get_its_answer_later() -> None:
    async def scenario() -> None:
        bench = Bench()
        bench.engine.gate.clear()
        first = bench.board.post("a", BODY, client="me", key="k")
        assert bench.board.post("a", BODY, client="me", key="k") is first
        assert bench.board.post("a", BODY, client="you", key="k") is not first
        with pytest.raises(IdempotencyConflict):
            bench.board.post("a", OTHER, client="me", key="k")
        bench.engine.gate.set()
        generated = await bench.board.result(first)
        again = bench.board.post("a", BODY, client="me", key="k")
        assert await bench.board.result(again) is generated
        assert len(bench.engine.requests) == 2

    run(scenario)


def test_a_key_whose_job_failed_may_be_used_again() -> None:
    async def scenario() -> None:
        bench = Bench()
        bench.engine.failures["generate"] = GenerationFailed("injected")
        failed = bench.board.post("a", BODY, key="k")
        with pytest.raises(GenerationFailed):
            await bench.board.result(failed)
        await rounds()
        assert (failed.state, bench.kinds(failed.id)[-1]) == ("failed", "failed")
        assert len((await bench.board.result(bench.board.post("a", BODY, key="k"))).images) == 1

    run(scenario)


@pytest.mark.parametrize("detached", [True, False])
def test_work_ends_when_its_last_waiter_leaves_unless_it_is_detached(detached: bool) -> None:
    async def scenario() -> None:
        bench = Bench()
        bench.engine.gate.clear()
        job = bench.board.post("a", BODY, key="k", detached=detached)
        waiters = [asyncio.create_task(bench.board.result(job)) for _ in range(2)]
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


def test_a_cancelled_job_ends_before_its_next_step_and_says_so() -> None:
    async def scenario() -> None:
        bench = Bench()
        job = bench.board.post("a", GenerationParameters(prompt="x", num_inference_steps=100))
        waiting = asyncio.create_task(bench.board.result(job))
        while job.steps_done < 2:  # noqa: ASYNC110 - the fake engine has no event for it
            await asyncio.sleep(0)
        await bench.board.cancel(job.id)
        await rounds()
        assert (job.state, bench.kinds(job.id)[-1]) == ("cancelled", "cancelled")
        assert job.steps_done < 20
        with pytest.raises(Cancelled):
            await waiting
        await bench.board.cancel(job.id)  # now it is forgotten
        with pytest.raises(ExpiredJob):
            bench.board.get(job.id)

    run(scenario)


@pytest.mark.parametrize(
    ("policy", "kept"),
    [(JobPolicy(keep_s=10), 0), (JobPolicy(max_finished=2), 2), (JobPolicy(max_result_nbytes=0), 0), (JobPolicy(), 4)],
)
def test_finished_jobs_expire_and_are_told_from_those_that_never_were(policy: JobPolicy, kept: int) -> None:
    async def scenario() -> None:
        bench = Bench(policy)
        jobs = [bench.board.post("a", BODY) for _ in range(4)]
        await asyncio.gather(*(bench.board.result(job) for job in jobs))
        await rounds()
        bench.now += 11
        assert len(bench.board.all()) == kept
        assert len(bench.board.all("done")) == kept
        for job in jobs[: 4 - kept]:
            with pytest.raises(ExpiredJob):
                bench.board.get(job.id)
        with pytest.raises(UnknownJob):
            bench.board.get("never")

    run(scenario)


def test_previews_come_as_pictures_and_only_if_asked_for() -> None:
    async def scenario(previews: bool) -> None:
        bench = Bench(writer=InstantWriter())
        job = bench.board.post("a", GenerationParameters(prompt="x", num_inference_steps=20, previews=previews))
        await bench.board.result(job)
        found = [event for event in job.log.after(0) if event.kind == "preview"]
        assert bool(found) == previews
        assert all(event.data["media_type"] == "image/jpeg" for event in found)

    run(lambda: scenario(False))
    run(lambda: scenario(True))
