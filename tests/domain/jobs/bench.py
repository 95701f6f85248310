"""A job store on a fake engine and a clock that is set by hand."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

from litestar_diffusion.domain.jobs.job_store import JobStore
from litestar_diffusion.domain.jobs.policy import JobPolicy
from litestar_diffusion.domain.jobs.record import JobQuery
from litestar_diffusion.domain.jobs.tracked_job import TrackedJob
from litestar_diffusion.domain.requests.fields import OutputFormat
from litestar_diffusion.domain.requests.parameters import GenerationParameters
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


class StartingEngine(FakeEngine):
    """Starts when its gate is opened."""

    async def start(self) -> None:
        await self.gate.wait()


class Bench:
    def __init__(
        self,
        policy: JobPolicy | None = None,
        max_waiting: int = 64,
        writer: ImageWriter | None = None,
        engine: FakeEngine | None = None,
        now: Callable[[], float] | None = None,
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
            now=now or self.tick,
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


def kept_nbytes(bench: Bench) -> int:
    """Bytes of the images that are kept."""
    return sum(job.nbytes for job in bench.jobs.repository._jobs.values())
