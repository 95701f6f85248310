"""Jobs are found by their clients."""

import asyncio
from typing import Any

import pytest

from litestar_diffusion.domain.errors import (
    ExpiredJob,
    UnknownJob,
)
from litestar_diffusion.domain.jobs.keeping.retention import Retention
from litestar_diffusion.domain.jobs.policy import JobPolicy
from litestar_diffusion.domain.jobs.record import JobQuery
from tests.domain.jobs.bench import BODY, OTHER, Bench, rounds, run


def test_jobs_are_listed_by_the_state_that_they_have_now() -> None:
    async def main() -> None:
        bench = Bench()
        await bench.jobs.open()
        bench.engine.gate.clear()
        job = await bench.jobs.post("a", BODY)
        async with asyncio.timeout(20):
            while job.state != "running":  # noqa: ASYNC110 - it has no event
                await asyncio.sleep(0.001)
        await rounds()
        listed = {state: await bench.listed(state=state) for state in ("queued", "loading", "running", "done")}
        assert listed == {"queued": [], "loading": [], "running": [job.id], "done": []}
        bench.engine.gate.set()
        await bench.jobs.result(job)
        assert (await bench.listed(state="running"), await bench.listed(state="done")) == ([], [job.id])
        await bench.jobs.close()

    asyncio.run(main())


def test_a_job_whose_end_is_kept_and_not_yet_told_is_listed_with_its_images(monkeypatch: pytest.MonkeyPatch) -> None:
    """Between the two, a list of what is done has it; what the process itself has of it still runs."""

    async def main() -> None:
        bench = Bench()
        kept, told = asyncio.Event(), asyncio.Event()
        finish = bench.jobs.repository.finish

        async def finish_slowly(job: Any, result: Any) -> bool:
            ours = await finish(job, result)
            kept.set()
            await told.wait()
            return ours

        monkeypatch.setattr(bench.jobs.repository, "finish", finish_slowly)
        sent = await bench.jobs.post("a", BODY)
        await kept.wait()
        assert sent.state == "running"
        (listed,) = await bench.jobs.page(JobQuery(state="done"))
        assert (listed.id, listed.state, listed.seeds) == (sent.id, "done", (1,))
        told.set()
        await bench.jobs.result(sent)

    run(main)


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
