"""Jobs are found by their clients."""

import asyncio

import pytest

from litestar_diffusion.domain.errors import (
    ExpiredJob,
    UnknownJob,
)
from litestar_diffusion.domain.jobs.keeping.retention import Retention
from litestar_diffusion.domain.jobs.policy import JobPolicy
from tests.domain.jobs.bench import BODY, OTHER, Bench


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
