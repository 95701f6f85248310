"""Jobs while their images are made."""

import asyncio

import pytest

from litestar_diffusion.domain.errors import (
    Cancelled,
)
from litestar_diffusion.domain.requests.parameters import GenerationParameters
from tests.domain.jobs.bench import BODY, Bench, BrokenWriter, InstantWriter, rounds, run


def test_a_job_ends_early_with_its_images_if_it_runs_and_without_any_before() -> None:
    async def scenario() -> None:
        bench = Bench()
        waiting = await bench.jobs.post("a", BODY)
        waiting.end_early("request")
        with pytest.raises(Cancelled):
            await bench.jobs.result(waiting)
        bench.engine.gate.clear()
        running = await bench.jobs.post("a", BODY)
        while running.state != "running":  # noqa: ASYNC110 - the fake engine has no event for it
            await asyncio.sleep(0)
        running.end_early("request")
        bench.engine.gate.set()
        (image,) = (await bench.jobs.result(running)).images
        await rounds()
        assert (image.unfinished, running.state, running.steps_done) == (True, "done", 1)

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
