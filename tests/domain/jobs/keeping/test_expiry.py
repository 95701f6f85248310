"""Finished jobs are dropped beyond their limits."""

import asyncio
import time

import pytest

from litestar_diffusion.domain.errors import (
    ExpiredJob,
    StorageUnavailable,
    UnknownJob,
)
from litestar_diffusion.domain.jobs.job_store import JobStore
from litestar_diffusion.domain.jobs.keeping.retention import Retention
from litestar_diffusion.domain.jobs.policy import JobPolicy
from tests.domain.jobs.bench import BODY, Bench, InstantWriter, kept_nbytes, rounds, run


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


def test_images_are_freed_without_any_request() -> None:
    async def scenario() -> None:
        bench = Bench(JobPolicy(retention=Retention(keep_s=0.05)), now=time.time)  # timers are the event loop's
        job = await bench.jobs.post("a", BODY)
        await bench.jobs.result(job)
        assert kept_nbytes(bench) > 0
        while kept_nbytes(bench):  # noqa: ASYNC110 - nothing may touch the store but its own timer
            await asyncio.sleep(0.01)

    run(scenario)


def test_images_of_before_a_restart_are_freed_at_the_start_and_then_each_minute() -> None:
    async def scenario() -> None:
        policy = JobPolicy(retention=Retention(keep_s=3600))
        bench = Bench(policy)
        await bench.jobs.result(await bench.jobs.post("a", BODY))
        await rounds()
        bench.now += 3601
        restarted = JobStore(bench.jobs._generator, InstantWriter(), policy, bench.jobs.repository, now=bench.tick)
        await restarted.open()
        assert kept_nbytes(bench) == 0
        timer = restarted._expiry._timer
        assert timer is not None
        assert timer.when() <= asyncio.get_running_loop().time() + 60
        await restarted.close()

    run(scenario)


def test_images_are_freed_after_the_repository_did_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario() -> None:
        bench = Bench(JobPolicy(retention=Retention(keep_s=0.05)), now=time.time)
        failed = 0

        async def no_answer(*_: object) -> None:
            nonlocal failed
            failed += 1
            raise StorageUnavailable("no answer")

        with monkeypatch.context() as patched:
            patched.setattr(bench.jobs.repository, "expire", no_answer)
            await bench.jobs.result(await bench.jobs.post("a", BODY))
            while failed < 3:  # noqa: ASYNC110 - nothing may touch the store but its own timer
                await asyncio.sleep(0.01)
        while kept_nbytes(bench):  # noqa: ASYNC110
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
