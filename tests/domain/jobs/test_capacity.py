"""Jobs are refused beyond their limit."""

import asyncio

import pytest

from litestar_diffusion.domain.errors import (
    QueueFull,
)
from litestar_diffusion.domain.jobs.policy import JobPolicy
from tests.domain.jobs.bench import BODY, Bench, StartingEngine, run


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
