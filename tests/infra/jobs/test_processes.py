"""Several processes on one database, each with a job store and an engine of its own; here in one event loop, on fake engines."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from litestar_diffusion.domain.errors import (
    Cancelled,
    GenerationFailed,
    IdempotencyConflict,
    Interrupted,
    ShuttingDown,
    StorageUnavailable,
)
from litestar_diffusion.domain.generator import Generated
from litestar_diffusion.domain.jobs.capacity import Capacity
from litestar_diffusion.domain.jobs.job_keeper import JobKeeper, decide
from litestar_diffusion.domain.jobs.job_store import JobStore
from litestar_diffusion.domain.jobs.policy import JobPolicy
from litestar_diffusion.domain.jobs.record import JobQuery, JobRecord
from litestar_diffusion.domain.jobs.tracked_job import TrackedJob
from litestar_diffusion.domain.models.spec import ModelName
from litestar_diffusion.domain.requests.parameters import GenerationParameters
from litestar_diffusion.infra.image_encoding import PillowImageWriter
from litestar_diffusion.infra.jobs.folder import jobs_in
from litestar_diffusion.infra.jobs.sql_repository import SqlJobRepository
from litestar_diffusion.testing import FakeEngine, fake_services, model

BODY = GenerationParameters(prompt="x", seed=1, num_inference_steps=3, reproducible=True)


class Process:
    """One process: a store, its keeper, an engine whose gate holds jobs back."""

    def __init__(self, folder: Path, *, max_attempts: int = 2) -> None:
        self.engine = FakeEngine()
        services = fake_services(model("a"), engine=self.engine)
        self.dispatcher = services.dispatcher
        self.repository: SqlJobRepository = jobs_in(folder, None, lease_s=30, min_free_nbytes=0)
        self.ended: list[TrackedJob] = []
        self.store = JobStore(
            services.generator, PillowImageWriter(), JobPolicy(), self.repository, on_ended=self.ended.append
        )
        self.keeper = JobKeeper(self.repository, self.store.runner, self.store.capacity, max_attempts=max_attempts)

    def kill(self) -> None:
        """End it as kill -9 does, as far as others see it: its lock is gone, and it writes nothing more."""
        self.repository._mark.close()
        for job in self.store.in_flight:
            job.work.cancel()

    async def until_running(self, job: TrackedJob) -> None:
        async with asyncio.timeout(20):
            while not (kept := await self.repository.get(job.id)) or kept.state != "running":  # noqa: ASYNC110 - it has no event
                await asyncio.sleep(0.01)

    async def finish_all(self) -> None:
        self.engine.gate.set()
        await asyncio.gather(*(job.work for job in self.store.in_flight), return_exceptions=True)


def run(folder: Path, scenario: Callable[..., Awaitable[None]], count: int = 2, **options: Any) -> None:
    async def main() -> None:
        processes = [Process(folder, **options) for _ in range(count)]
        for process in processes:
            await process.store.open()
        try:
            async with asyncio.timeout(30):
                await scenario(*processes)
        finally:
            for process in processes:
                process.engine.gate.set()
                await process.store.close()

    asyncio.run(main())


def test_any_process_answers_for_any_job_and_follows_it(tmp_path: Path) -> None:
    async def scenario(first: Process, second: Process) -> None:
        first.engine.gate.clear()
        job = await first.store.post("a", BODY, client="me", key="k")
        await first.until_running(job)
        seen = await second.store.get(job.id)
        assert (seen.state, await second.store.page(JobQuery(model="b"))) == ("running", [])

        async def follow() -> list[str]:
            return [event.kind async for event in second.store.follow(seen) if event is not None]

        following = asyncio.create_task(follow())
        joining = asyncio.create_task(second.store.run("a", BODY, client="me", key="k"))
        with pytest.raises(IdempotencyConflict):
            await second.store.post("a", GenerationParameters(prompt="y"), client="me", key="k")
        first.engine.gate.set()
        assert (await joining).images == (await job.work).images
        assert (await following)[-1] == "done"
        assert second.engine.requests == []

    run(tmp_path, scenario)


def test_a_job_is_cancelled_by_any_process(tmp_path: Path) -> None:
    async def scenario(first: Process, second: Process) -> None:
        first.engine.gate.clear()
        job = await first.store.post("a", BODY)
        await first.until_running(job)
        cancelling = asyncio.create_task(second.store.cancel(job.id))
        while not job.stopping:
            await first.keeper.look()
        first.engine.gate.set()
        assert (await cancelling).state == "cancelled"

    run(tmp_path, scenario)


def test_a_job_that_no_process_can_take_is_cancelled_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scenario(first: Process, second: Process) -> None:
        first.engine.gate.clear()
        cancelled, other = [await first.store.post("a", BODY, client=client) for client in ("me", "you")]
        first.kill()
        monkeypatch.setattr(Capacity, "places", 0)
        cancelling = asyncio.create_task(second.store.cancel(cancelled.id))
        while not cancelling.done():
            await second.keeper.look()
        assert (await cancelling).state == "cancelled"
        monkeypatch.undo()
        await second.keeper.look()
        assert [job.id for job in second.store.in_flight] == [other.id], "its process is still known to have ended"

    run(tmp_path, scenario)


def test_jobs_of_a_killed_process_are_run_by_another_one_and_those_that_ran_are_marked(tmp_path: Path) -> None:
    async def scenario(first: Process, second: Process) -> None:
        first.engine.gate.clear()
        ran = await first.store.post("a", BODY)
        await first.until_running(ran)
        waited = await first.store.post("a", GenerationParameters(prompt="y", num_inference_steps=3))
        first.kill()
        await second.keeper.look()
        await second.finish_all()
        states = {job.id: (job.state, job.restarts) for job in await second.store.page(JobQuery())}
        assert states == {ran.id: ("done", 1), waited.id: ("done", 0)}
        kinds = [event.kind for event in (await second.store.get(ran.id)).log.after(0)]
        assert (kinds[0], kinds.count("restarted"), kinds[-1]) == ("queued", 1, "done")
        ids = [event.id for event in (await second.store.get(ran.id)).log.after(0)]
        assert ids == sorted(set(ids))

    run(tmp_path, scenario)


def test_a_job_that_ran_whenever_its_process_was_killed_is_given_up(tmp_path: Path) -> None:
    async def scenario(*processes: Process) -> None:
        job = None
        for process in processes[:-1]:
            process.engine.gate.clear()
            if job is None:
                job = await process.store.post("a", BODY, key="k")
            await process.keeper.look()
            (own,) = process.store.in_flight
            await process.until_running(own)
            process.kill()
        last = processes[-1]
        await last.keeper.look()
        assert job is not None
        failed = await last.store.get(job.id)
        assert (failed.state, failed.restarts, type(failed.failure)) == ("failed", 2, Interrupted)
        assert [job.id for job in last.ended] == [job.id]
        assert last.engine.requests == []
        await last.store.run("a", BODY, key="k")

    run(tmp_path, scenario, 3)


def test_a_model_whose_load_ends_every_process_fails_its_job_and_not_those_behind_it(tmp_path: Path) -> None:
    async def scenario(*processes: Process) -> None:
        jobs = list[TrackedJob]()
        for process in processes[:-1]:
            process.engine.load_s = 1e6
            if not jobs:
                jobs = [
                    await process.store.post("a", GenerationParameters(prompt="x", seed=seed, num_inference_steps=3))
                    for seed in (1, 2)
                ]
            await process.keeper.look()
            while not process.engine.loads:  # noqa: ASYNC110 - the fake engine has no event for it
                await asyncio.sleep(0.01)
            process.kill()
        last = processes[-1]
        await last.keeper.look()
        await last.finish_all()
        done, failed = sorted([await last.store.get(job.id) for job in jobs], key=lambda job: job.state)
        assert (failed.state, type(failed.failure)) == ("failed", Interrupted)
        assert "jobs.max_attempts" in str(failed.failure)
        assert done.state == "done"

    run(tmp_path, scenario, 4)  # after three deaths one of two jobs has caused two, whichever was resolved first


def test_a_request_whose_client_waited_is_not_run_again_and_its_key_is_free(tmp_path: Path) -> None:
    async def scenario(first: Process, second: Process) -> None:
        first.engine.gate.clear()
        waiting = asyncio.create_task(first.store.run("a", BODY, key="k"))
        while not first.engine.running:  # noqa: ASYNC110 - the request is resolved in a thread
            await asyncio.sleep(0)
        (job,) = first.store.in_flight
        first.kill()
        with pytest.raises(Cancelled):
            await waiting
        await second.keeper.look()
        assert (await second.store.get(job.id)).state == "cancelled"
        await second.store.run("a", BODY, key="k")
        assert len(second.engine.requests) == 1

    run(tmp_path, scenario)


WAITS = {"client": "me", "key": "k"}


async def waits_and_joins(waiting: Process, joined: Process) -> "tuple[asyncio.Task[Generated], TrackedJob]":
    """A client waits for a request; another one sends it as a job, to any process, and is answered with 202."""
    waiting.engine.gate.clear()
    client = asyncio.create_task(waiting.store.run("a", BODY, **WAITS))
    while not waiting.engine.running:  # noqa: ASYNC110 - the request is resolved in a thread
        await asyncio.sleep(0)
    return client, await joined.store.post("a", BODY, **WAITS)


@pytest.mark.parametrize("joined", [0, 1])
def test_a_job_that_joined_a_waiting_request_runs_again_after_its_process_was_killed(
    tmp_path: Path, joined: int
) -> None:
    async def scenario(first: Process, second: Process) -> None:
        client, job = await waits_and_joins(first, (first, second)[joined])
        first.kill()
        await asyncio.wait([client])
        await second.keeper.look()
        await second.finish_all()
        assert (await second.store.get(job.id)).state == "done"

    run(tmp_path, scenario)


@pytest.mark.parametrize("joined", [0, 1])
def test_a_job_that_joined_a_waiting_request_outlives_an_orderly_end(tmp_path: Path, joined: int) -> None:
    async def scenario(first: Process, second: Process) -> None:
        client, job = await waits_and_joins(first, (first, second)[joined])
        first.dispatcher.close()
        first.engine.gate.set()
        await first.dispatcher.drain(0)
        await asyncio.wait([client])
        await second.keeper.look()
        await second.finish_all()
        assert (await second.store.get(job.id)).state == "done"

    run(tmp_path, scenario)


def test_a_job_that_joined_a_request_of_another_process_goes_on_after_its_client_has_left(tmp_path: Path) -> None:
    async def scenario(first: Process, second: Process) -> None:
        client, job = await waits_and_joins(first, second)
        client.cancel()
        first.engine.gate.set()
        await asyncio.wait([client, *(job.work for job in first.store.in_flight)])
        await second.keeper.look()
        await second.finish_all()
        assert (await second.store.get(job.id)).state == "done"

    run(tmp_path, scenario)


@pytest.mark.parametrize("leaves_first", [True, False])
def test_a_client_that_sends_its_request_again_to_another_process_gets_its_image(
    tmp_path: Path, leaves_first: bool
) -> None:
    async def scenario(first: Process, second: Process) -> None:
        first.engine.gate.clear()
        left = asyncio.create_task(first.store.run("a", BODY, **WAITS))
        while not first.engine.running:  # noqa: ASYNC110 - the request is resolved in a thread
            await asyncio.sleep(0)
        (job,) = first.store.in_flight
        if leaves_first:
            left.cancel()
        finding, found = second.repository.with_key, asyncio.Event()

        async def with_key(client: str, key: str) -> JobRecord | None:
            record = await finding(client, key)
            found.set()
            return record

        second.repository.with_key = with_key  # type: ignore[method-assign]
        again = asyncio.create_task(second.store.run("a", BODY, **WAITS))
        await found.wait()
        left.cancel()
        first.engine.gate.set()
        assert len((await again).images) == 1
        assert (await second.store.get(job.id)).state == "cancelled"

    run(tmp_path, scenario)


def test_a_request_whose_client_waits_at_another_process_is_sent_again_if_its_process_is_killed(
    tmp_path: Path,
) -> None:
    async def scenario(first: Process, second: Process) -> None:
        first.engine.gate.clear()
        left = asyncio.create_task(first.store.run("a", BODY, **WAITS))
        while not first.engine.running:  # noqa: ASYNC110 - the request is resolved in a thread
            await asyncio.sleep(0)
        (job,) = first.store.in_flight
        joins = asyncio.create_task(second.store.run("a", BODY, **WAITS))
        first.kill()
        await second.keeper.look()
        assert len((await joins).images) == 1
        await asyncio.wait([left])
        assert (await second.store.get(job.id)).state == "cancelled"

    run(tmp_path, scenario)


def test_a_request_that_is_joined_by_a_job_while_it_ends_is_kept_with_its_end(tmp_path: Path) -> None:
    async def scenario(process: Process) -> None:
        add, adding, go = process.repository.add, asyncio.Event(), asyncio.Event()

        async def slow(job: JobRecord, parameters: GenerationParameters) -> None:
            adding.set()
            await go.wait()
            await add(job, parameters)

        process.repository.add = slow  # type: ignore[method-assign]
        process.engine.gate.clear()
        client = asyncio.create_task(process.store.run("a", BODY, **WAITS, join="in_flight"))
        while not process.engine.running:  # noqa: ASYNC110 - the request is resolved in a thread
            await asyncio.sleep(0)
        posting = [asyncio.create_task(process.store.post("a", BODY, **WAITS)) for _ in range(2)]
        await adding.wait()
        process.engine.gate.set()
        await client
        go.set()
        first, second = await asyncio.gather(*posting)
        assert first.id == second.id
        kept = await process.repository.get(first.id)
        assert kept is not None
        assert (kept.state, kept.detached, process.store.in_flight) == ("done", True, [])

    run(tmp_path, scenario, 1)


def test_a_process_that_shuts_down_gives_its_jobs_back_unmarked(tmp_path: Path) -> None:
    async def scenario(first: Process, second: Process) -> None:
        first.engine.gate.clear()
        jobs = [await first.store.post("a", GenerationParameters(prompt="x", seed=seed)) for seed in (1, 2)]
        await first.until_running(jobs[0])
        first.dispatcher.close()
        first.engine.gate.set()
        await first.dispatcher.drain(0)
        assert {type(error) for error in await asyncio.gather(*(job.work for job in jobs), return_exceptions=True)} == {
            ShuttingDown
        }
        await first.keeper.look()
        assert first.store.in_flight == [], "it takes none of them again"
        await second.keeper.look()
        await second.finish_all()
        assert [(job.state, job.restarts) for job in await second.store.page(JobQuery())] == [("done", 0)] * 2

    run(tmp_path, scenario)


def test_a_job_without_a_seed_makes_the_same_image_when_it_is_begun_again(tmp_path: Path) -> None:
    async def scenario(first: Process, second: Process) -> None:
        first.engine.gate.clear()
        job = await first.store.post("a", GenerationParameters(prompt="x", num_inference_steps=3))
        await first.until_running(job)
        first.kill()
        await second.keeper.look()
        await second.finish_all()
        assert second.engine.requests[0].seeds == first.engine.requests[0].seeds

    run(tmp_path, scenario)


def test_a_disk_that_is_full_when_a_job_ends_delays_its_end_and_loses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("litestar_diffusion.domain.jobs.job_runner._TRY_AGAIN_S", 0.01)

    async def scenario(process: Process) -> None:
        disk = FullDisk(process)
        job = await process.store.post("a", BODY)
        await disk.refused.wait()
        assert not job.over
        with pytest.raises(StorageUnavailable, match="No space left"):
            await process.store.post("a", GenerationParameters(prompt="x", image=_picture()))
        disk.full = False
        generated = await process.store.result(job)
        assert (await process.store.get(job.id, with_result=True)).result == generated

    run(tmp_path, scenario, 1)


class FullDisk:
    """A disk on which no file can be written while it is full."""

    def __init__(self, process: Process) -> None:
        self._put, self.full, self.refused = process.repository._files.put, True, asyncio.Event()
        self._loop = asyncio.get_running_loop()
        process.repository._files.put = self.put  # type: ignore[method-assign]

    def put(self, job_id: str, files: Any) -> list[str]:
        if not files or not self.full:
            return self._put(job_id, files)
        self._loop.call_soon_threadsafe(self.refused.set)
        raise OSError(28, "No space left on device")


def test_a_request_that_ends_while_the_disk_is_full_is_answered_and_kept_once_there_is_space(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("litestar_diffusion.domain.jobs.job_runner._TRY_AGAIN_S", 0.01)

    async def scenario(process: Process) -> None:
        disk = FullDisk(process)
        generated = await process.store.run("a", BODY, key="k")
        assert await process.store.run("a", BODY, key="k") == generated, "its retry"
        disk.full = False
        while process.store.in_flight:  # noqa: ASYNC110 - it has no event
            await asyncio.sleep(0.01)
        assert [job.state for job in await process.store.page(JobQuery(state="done"))] == ["done"]
        assert await process.store.run("a", BODY, key="k") == generated
        assert len(process.engine.requests) == 1

    run(tmp_path, scenario, 1)


def test_a_request_that_ended_while_the_disk_was_full_can_be_deleted(tmp_path: Path) -> None:
    async def scenario(process: Process) -> None:
        FullDisk(process)
        await process.store.run("a", BODY, key="k")
        (job,) = process.store.in_flight
        await process.store.cancel(job.id)
        assert (process.store.in_flight, await process.store.page(JobQuery())) == ([], [])

    run(tmp_path, scenario, 1)


def test_a_request_that_fails_while_nothing_can_be_written_leaves_its_key_free(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scenario(process: Process) -> None:
        async def finish(*_: object) -> bool:
            raise StorageUnavailable("no answer")

        process.engine.failures["generate"] = GenerationFailed("injected")
        with monkeypatch.context() as patched:
            patched.setattr(process.repository, "finish", finish)
            with pytest.raises(GenerationFailed):
                await process.store.run("a", BODY, key="k")
        assert len((await process.store.run("a", BODY, key="k")).images) == 1

    run(tmp_path, scenario, 1)


def test_a_moment_without_file_descriptors_does_not_end_the_keeping_of_jobs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scenario(process: Process, _other: Process) -> None:
        looked, loop, process.keeper._tick_s = asyncio.Event(), asyncio.get_running_loop(), 0.001

        def none_left(path: Path, *args: Any, **options: Any) -> Any:
            loop.call_soon_threadsafe(looked.set)
            raise OSError(24, "Too many open files")

        with monkeypatch.context() as patched:
            patched.setattr(Path, "open", none_left)
            with pytest.raises(StorageUnavailable, match="Too many open files"):
                await process.keeper.look()
            keeping = asyncio.create_task(process.keeper.run())
            looked.clear()
            await looked.wait()
        await process.repository.add(_free_job(), BODY)
        await process.repository.release([_free_job().id])
        while not process.store.in_flight and not keeping.done():  # noqa: ASYNC110 - it has no event
            await asyncio.sleep(0.001)
        assert not keeping.done()
        keeping.cancel()
        await asyncio.wait([keeping])
        await process.finish_all()

    run(tmp_path, scenario)


def _free_job() -> JobRecord:
    return JobRecord(id="f" * 32, model=ModelName("a"), client="me", created=1.0)


def _picture() -> bytes:
    import io

    from PIL import Image

    file = io.BytesIO()
    Image.new("RGB", (64, 64)).save(file, "PNG")
    return file.getvalue()


@pytest.mark.parametrize(
    ("stated", "decision"),
    [
        ({}, "begin"),
        ({"restarts": 1}, "begin"),
        ({"restarts": 2}, "give_up"),
        ({"detached": False}, "abandon"),
        ({"cancel_requested": True, "restarts": 9}, "cancel"),
    ],
    ids=["waited", "begun-once", "begun-twice", "client-gone", "cancelled"],
)
def test_what_becomes_of_a_job_whose_process_has_ended(stated: dict[str, Any], decision: str) -> None:
    job = JobRecord(id="1", model=ModelName("a"), client="", created=0.0, **stated)
    assert decide(job, 2) == decision
