"""The contract of repositories of jobs: in memory, in SQLite, and in PostgreSQL if it is installed."""

import asyncio
import shutil
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import event, insert, select

from litestar_diffusion.domain.errors import ExpiredJob, KeyTaken, StorageUnavailable
from litestar_diffusion.domain.jobs.event_log import JobEvent
from litestar_diffusion.domain.jobs.keeping.memory_repository import MemoryJobRepository
from litestar_diffusion.domain.jobs.keeping.repository import JobRepository
from litestar_diffusion.domain.jobs.keeping.retention import Retention
from litestar_diffusion.domain.jobs.record import Failure, JobProgress, JobQuery, JobRecord, place_of
from litestar_diffusion.domain.models.spec import ModelName
from litestar_diffusion.domain.requests.parameters import GenerationParameters
from litestar_diffusion.infra.jobs.database import Database, sqlite_url
from litestar_diffusion.infra.jobs.job_files import JobFiles
from litestar_diffusion.infra.jobs.process_mark import ProcessMark
from litestar_diffusion.infra.jobs.rows import row_of
from litestar_diffusion.infra.jobs.sql_repository import SqlJobRepository
from litestar_diffusion.infra.jobs.tables import DELIVERIES, JOBS
from tests.infra.jobs.postgres import new_database
from tests.infra.jobs.test_result_codec import generated

PARAMETERS = GenerationParameters(prompt="a", seed=1, image=b"picture", mask=b"mask")
LEASE_S = 30.0


@dataclass
class Place:
    """Where repositories of one kind keep their jobs."""

    kind: str
    folder: Path
    url: str = ""

    def repository(self, **options: Any) -> JobRepository:
        """Make the repository of one process."""
        if self.kind == "memory":
            return MemoryJobRepository()
        return SqlJobRepository(
            Database(self.url),
            JobFiles(self.folder / "files"),
            ProcessMark(self.folder / "processes"),
            **{"lease_s": LEASE_S, "min_free_nbytes": 0, "clock": lambda: 100.0, **options},
        )


@pytest.fixture(params=["memory", "sqlite", "postgresql"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    match request.param:
        case "postgresql":
            return Place(request.param, tmp_path, new_database(request.getfixturevalue("postgres_url")))
        case kind:
            return Place(kind, tmp_path, sqlite_url(tmp_path / "jobs.db"))


@pytest.fixture
def shared(place: Place) -> Place:
    """One that several processes may use."""
    if place.kind == "memory":
        pytest.skip("jobs in memory belong to one process")
    return place


def run(place: Place, scenario: Callable[..., Awaitable[None]], processes: int = 1, **options: Any) -> None:
    async def main() -> None:
        repositories = [place.repository(**options) for _ in range(processes)]
        for repository in repositories:
            await repository.open()
        try:
            await scenario(*repositories)
        finally:
            for repository in repositories:
                await repository.close()

    asyncio.run(main())


def job(number: int = 1, **stated: Any) -> JobRecord:
    return JobRecord(id=f"{number:032x}", model=ModelName("m"), client="me", created=float(number), **stated)


def done(record: JobRecord, ended: float = 10.0, nbytes: int = 18) -> JobRecord:
    return replace(record, state="done", ended=ended, nbytes=nbytes, events=(JobEvent(7, "done", {"seeds": [1]}),))


def test_a_finished_job_is_there_with_its_events_images_and_key(place: Place) -> None:
    async def scenario(jobs: JobRepository) -> None:
        record = job(key="k", body=b"\x00\xff", callback_url="https://x")
        await jobs.add(record, PARAMETERS)
        assert await jobs.get(record.id) == record
        assert await jobs.result(record.id) is None
        result = await generated()
        assert await jobs.finish(done(record), result)
        assert await jobs.get(record.id) == await jobs.with_key("me", "k") == done(record)
        assert await jobs.result(record.id) == result
        assert await jobs.with_key("you", "k") is None

    run(place, scenario)


def test_a_job_ends_exactly_once(place: Place) -> None:
    async def scenario(jobs: JobRepository) -> None:
        record = job()
        await jobs.add(record, PARAMETERS)
        assert await jobs.finish(done(record), await generated())
        failed = replace(record, state="failed", ended=11.0, failure=Failure(code="x", message="y"))
        assert not await jobs.finish(failed, None)
        assert not await jobs.finish(done(record, ended=12), await generated())
        await jobs.note([progress(record.id, "running")])
        assert await jobs.get(record.id) == done(record)
        assert await jobs.result(record.id) is not None
        assert not await jobs.finish(done(job(9)), None), "a job that was never accepted"

    run(place, scenario)


def progress(job_id: str, state: Any) -> JobProgress:
    return JobProgress(
        id=job_id, state=state, started=5.0, steps_done=3, steps_total=9, events=(JobEvent(1, "step", {"done": 3}),)
    )


def test_progress_and_failures_are_kept(place: Place) -> None:
    async def scenario(jobs: JobRepository) -> None:
        await jobs.add(job(), PARAMETERS)
        await jobs.note([progress(job().id, "running"), progress(job(2).id, "running")])
        running = await jobs.get(job().id)
        assert running is not None
        assert (running.state, running.steps_done, running.events[0].data) == ("running", 3, {"done": 3})
        failure = Failure(code="invalid_request", message="no", facts={"errors": [{"field": "n", "message": "m"}]})
        failed = replace(running, state="failed", ended=9.0, failure=failure)
        assert await jobs.finish(failed, None)
        assert await jobs.get(job().id) == failed

    run(place, scenario)


def test_a_key_belongs_to_one_job_until_it_is_dropped_or_its_job_fails(place: Place) -> None:
    async def scenario(jobs: JobRepository) -> None:
        await jobs.add(job(1, key="k"), PARAMETERS)
        await jobs.add(replace(job(2, key="k"), client="you"), PARAMETERS)
        with pytest.raises(KeyTaken):
            await jobs.add(job(3, key="k"), PARAMETERS)
        assert await jobs.get(job(3).id) is None
        await jobs.drop_key(job(1).id)
        await jobs.add(job(4, key="k"), PARAMETERS)
        assert await jobs.finish(done(job(1, key="k")), await generated()), "the end brings no dropped key back"
        assert await jobs.finish(replace(job(4), state="failed", ended=5.0), None)
        await jobs.add(job(5, key="k"), PARAMETERS)
        found = await jobs.with_key("me", "k")
        assert found is not None
        assert found.id == job(5).id

    run(place, scenario)


def test_old_jobs_are_dropped_by_age_number_and_bytes_and_known_to_have_existed(place: Place) -> None:
    async def scenario(jobs: JobRepository) -> None:
        for number in range(1, 6):
            await jobs.add(job(number, key=str(number)), PARAMETERS)
            await jobs.finish(done(job(number, key=str(number)), ended=float(number), nbytes=10), await generated())
        await jobs.add(job(9), PARAMETERS)

        async def left(now: float, **limits: Any) -> list[int]:
            await jobs.expire(Retention(**{"keep_s": 1e9, "max_finished": 99, **limits}), now)
            return [int(record.id, 16) for record in await jobs.page(JobQuery())]

        assert await left(6) == [9, 5, 4, 3, 2, 1]
        assert await left(6, max_finished=4) == [9, 5, 4, 3, 2]
        assert await left(6, max_result_nbytes=30) == [9, 5, 4, 3]
        assert await left(13, keep_s=10) == [9, 5, 4]
        await jobs.forget(job(5).id)
        assert await left(13) == [9, 4]
        expired = await jobs.get(job(5).id)
        assert expired is not None
        assert (expired.expired, expired.events, await jobs.result(expired.id)) == (True, (), None)
        assert await jobs.with_key("me", "5") is None
        await jobs.add(job(6, key="5"), PARAMETERS)

    run(place, scenario)


def test_pages_follow_each_other_without_gaps(place: Place) -> None:
    async def scenario(jobs: JobRepository) -> None:
        for number in range(1, 12):
            await jobs.add(replace(job(number), created=float(number // 3)), PARAMETERS)
        found, after = list[JobRecord](), None
        while page := await jobs.page(JobQuery(after=after, limit=4)):
            found += page
            after = place_of(page[-1])
        assert [int(record.id, 16) for record in found] == list(range(11, 0, -1))

    run(place, scenario)


def test_unfinished_jobs_that_are_given_back_are_claimed_in_the_order_of_their_arrival(place: Place) -> None:
    async def scenario(jobs: JobRepository) -> None:
        for number in (3, 1, 2):
            await jobs.add(job(number), PARAMETERS)
        assert await jobs.claim(0, 9) == [], "they belong to a process that lives"
        await jobs.release([job(number).id for number in (1, 2, 3)])
        assert not await jobs.finish(done(job(1)), None), "it may run elsewhere"
        assert [int(record.id, 16) for record in await jobs.claim(0, 2)] == [1, 2]
        assert [int(record.id, 16) for record in await jobs.claim(0, 9)] == [3]
        assert await jobs.claim(0, 9) == []
        assert await jobs.parameters(job(1).id) == PARAMETERS
        await jobs.request_cancel(job(2).id)
        assert await jobs.to_cancel() == [job(2).id]

    run(place, scenario)


def test_jobs_that_are_to_be_cancelled_are_claimed_beyond_the_limit(place: Place) -> None:
    async def scenario(jobs: JobRepository) -> None:
        for number in range(1, 6):
            await jobs.add(job(number), PARAMETERS)
        await jobs.release([job(number).id for number in range(1, 6)])
        for number in (2, 5):
            await jobs.request_cancel(job(number).id)
        assert [int(record.id, 16) for record in await jobs.claim(0, 0)] == [2, 5]
        assert [int(record.id, 16) for record in await jobs.claim(0, 1)] == [1]

    run(place, scenario)


def test_an_unfinished_job_may_come_to_need_no_waiting_client(place: Place) -> None:
    async def scenario(jobs: JobRepository) -> None:
        for number in (1, 2):
            await jobs.add(job(number, detached=False), PARAMETERS)
        await jobs.finish(done(job(2, detached=False)), await generated())
        for number in (1, 2):
            await jobs.detach(job(number).id)
        assert [record.detached for record in await jobs.page(JobQuery())] == [False, True]
        await jobs.finish(done(job(1, detached=False)), await generated())
        assert [record.detached for record in await jobs.page(JobQuery())] == [False, True]

    run(place, scenario)


def test_jobs_of_a_process_that_was_killed_are_claimed_at_once_and_marked_if_they_ran_or_were_loading(
    shared: Place,
) -> None:
    async def scenario(dead: SqlJobRepository, alive: JobRepository) -> None:
        for number in (1, 2, 3):
            await dead.add(job(number), PARAMETERS)
        await dead.note([progress(job(2).id, "running")])
        await dead.begin_load(job(3).id)
        assert await alive.claim(5, 9) == []
        dead._mark.close()
        first, second, third = await alive.claim(5, 9)
        assert (first.restarts, second.restarts, second.state, third.restarts) == (0, 1, "queued", 1)
        await alive.release([third.id])
        (again,) = await alive.claim(5, 9)
        assert again.restarts == 1, "this time its process did not end"
        assert second.events[0].kind == "step"
        assert not await dead.finish(done(job(2)), await generated()), "a process that was only slow changes nothing"
        assert await alive.finish(done(job(2)), await generated())

    run(shared, scenario, 2)


def test_a_lease_ends_with_silence_and_is_renewed_by_signs_of_life(shared: Place) -> None:
    async def scenario(first: JobRepository, second: JobRepository) -> None:
        await first.add(job(), PARAMETERS)
        assert await second.claim(100 + LEASE_S - 1, 9) == []
        await first.renew(100 + LEASE_S - 1)
        assert await second.claim(100 + LEASE_S + 1, 9) == []
        (claimed,) = await second.claim(100 + 2 * LEASE_S, 9)
        assert claimed.id == job().id
        assert await first.claim(100 + 2 * LEASE_S, 9) == []

    run(shared, scenario, 2)


def test_one_of_many_processes_gets_a_job(shared: Place) -> None:
    async def scenario(*processes: JobRepository) -> None:
        for number in range(1, 21):
            await processes[0].add(job(number), PARAMETERS)
        await processes[0].release([job(number).id for number in range(1, 21)])
        claimed = await asyncio.gather(*(process.claim(0, 3) for process in processes for _ in range(4)))
        ids = [record.id for records in claimed for record in records]
        assert len(ids) == len(set(ids)) == 20

    run(shared, scenario, 4)


def test_one_of_many_processes_gets_a_key(shared: Place) -> None:
    async def scenario(*processes: JobRepository) -> None:
        adding = [process.add(job(number, key="k"), PARAMETERS) for number, process in enumerate(processes, 1)]
        refused = [error for error in await asyncio.gather(*adding, return_exceptions=True) if error is not None]
        assert [type(error) for error in refused] == [KeyTaken] * 3

    run(shared, scenario, 4)


def test_processes_that_start_together_make_the_schema_once(shared: Place) -> None:
    async def main() -> None:
        processes = [shared.repository() for _ in range(4)]
        await asyncio.gather(*(process.open() for process in processes))
        for process in processes:
            await process.close()

    asyncio.run(main())


def test_files_of_jobs_are_named_by_their_digests_and_go_with_them(shared: Place) -> None:
    def files() -> list[str]:
        return sorted(path.name[:6] for path in (shared.folder / "files").glob("*/*/*"))

    async def scenario(jobs: JobRepository) -> None:
        await jobs.add(job(), PARAMETERS)
        assert len(files()) == 2
        await jobs.finish(done(job()), await generated())
        assert len(files()) == 2, "images, and no more pictures"
        await jobs.forget(job().id)
        assert files() == []

    run(shared, scenario)


def test_an_image_that_was_changed_or_removed_is_not_handed_out(shared: Place) -> None:
    async def scenario(jobs: JobRepository) -> None:
        for number in (1, 2):
            await jobs.add(job(number), PARAMETERS)
            await jobs.finish(done(job(number)), await generated())
        changed, removed = (next((shared.folder / "files").glob(f"*/{job(number).id}/*")) for number in (1, 2))
        changed.write_bytes(b"x")
        removed.unlink()
        assert await jobs.result(job(1).id) is None
        assert await jobs.result(job(2).id) is None

    run(shared, scenario)


def test_a_job_whose_pictures_are_gone_is_not_begun(shared: Place) -> None:
    async def scenario(jobs: JobRepository) -> None:
        await jobs.add(job(), PARAMETERS)
        shutil.rmtree(shared.folder / "files")
        with pytest.raises(ExpiredJob):
            await jobs.parameters(job().id)

    run(shared, scenario)


def test_no_job_is_accepted_if_the_disk_would_be_full(shared: Place) -> None:
    async def scenario(jobs: JobRepository) -> None:
        with pytest.raises(StorageUnavailable, match="min_free_bytes"):
            await jobs.add(job(), PARAMETERS)
        assert await jobs.get(job().id) is None
        assert list((shared.folder / "files").glob("*/*/*")) == []

    run(shared, scenario, min_free_nbytes=2**60)


OPERATION = st.tuples(
    st.sampled_from(
        ["add", "note", "finish", "fail", "drop_key", "forget", "expire", "release", "claim", "detach", "cancel"]
    ),
    st.integers(1, 5),
    st.integers(0, 2),
)
"""What is done, to which job, and another number: its key, or a limit."""


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(operations=st.lists(OPERATION, max_size=25))
def test_any_repository_keeps_what_the_one_in_memory_keeps(
    tmp_path: Path, operations: list[tuple[str, int, int]]
) -> None:
    place = Place("sqlite", tmp_path, sqlite_url(tmp_path / "jobs.db"))

    async def apply(jobs: JobRepository, what: str, number: int, extra: int) -> object:
        record = job(number, key=str(extra) if extra else None, detached=bool(extra))
        match what:
            case "add":
                try:
                    return None if await jobs.get(record.id) else await jobs.add(record, PARAMETERS)
                except KeyTaken:
                    return "taken"
            case "note":
                return await jobs.note([progress(record.id, "running")])
            case "finish":
                return await jobs.finish(done(record, ended=float(number), nbytes=number), await generated())
            case "fail":
                return await jobs.finish(replace(record, key=None, state="failed", ended=float(number)), None)
            case "drop_key":
                return await jobs.drop_key(record.id)
            case "forget":
                return await jobs.forget(record.id)
            case "expire":
                return await jobs.expire(Retention(keep_s=extra + 4.0, max_finished=extra + 1), number + 3.0)
            case "release":
                return await jobs.release([record.id])
            case "detach":
                return await jobs.detach(record.id)
            case "claim":
                return [found.id for found in await jobs.claim(-100, extra)]
            case _:
                return await jobs.request_cancel(record.id)

    async def seen(jobs: JobRepository) -> object:
        all_jobs = [await jobs.get(job(number).id) for number in range(1, 6)]
        keys = [await jobs.with_key("me", key) for key in ("1", "2")]
        results = [(result := await jobs.result(job(number).id)) and result.id for number in range(1, 6)]
        pages = [await jobs.page(JobQuery(state=state)) for state in (None, "queued", "done")]
        return all_jobs, keys, results, pages

    async def main() -> None:
        shutil.rmtree(place.folder, ignore_errors=True)
        place.folder.mkdir()
        model, real = MemoryJobRepository(), place.repository()
        await real.open()
        try:
            for operation in operations:
                assert await apply(real, *operation) == await apply(model, *operation), operation
                assert await seen(real) == await seen(model), operation
        finally:
            await real.close()

    asyncio.run(main())


def test_the_webhook_of_a_job_is_due_once_it_ends_and_outlives_its_process(shared: Place) -> None:
    async def scenario(first: JobRepository, second: JobRepository) -> None:
        record = job(callback_url="https://x")
        await first.add(record, PARAMETERS)
        assert await first.deliveries.take_due(99, 9, 0) == []
        assert await first.finish(done(record), await generated())
        assert not await first.finish(done(record), await generated())
        taken = await asyncio.gather(*(each.deliveries.take_due(20, 9, 80) for each in (first, second)))
        ((delivery,),) = [found for found in taken if found]
        assert (delivery.id, delivery.attempts, delivery.url) == (f"msg_{record.id}", 1, "https://x")
        assert await second.deliveries.take_due(79, 9, 80) == []
        (again,) = await second.deliveries.take_due(80, 9, 140)  # the process that took it has been killed
        assert (again.payload, again.attempts) == (delivery.payload, 2)
        await second.deliveries.failed(again.id, "answered 500", 200)
        (third,) = await first.deliveries.take_due(200, 9, 260)
        await first.deliveries.delivered(third.id)
        assert await first.deliveries.take_due(9999, 9, 0) == []
        await first.forget(record.id)

    run(shared, scenario, 2)


def test_a_delivery_that_is_made_after_its_job_was_dropped_is_dropped_too(shared: Place) -> None:
    async def scenario(jobs: SqlJobRepository) -> None:
        async def left() -> int:
            async with jobs._database.transaction() as connection:
                return len((await connection.execute(select(DELIVERIES.c.id))).all())

        async def expire() -> None:
            await jobs.expire(Retention(keep_s=0), 99)

        await jobs.add(job(callback_url="https://x"), PARAMETERS)
        await jobs.finish(done(job(callback_url="https://x")), await generated())
        (delivery,) = await jobs.deliveries.take_due(20, 9, 80)
        await expire()
        assert await left() == 1
        await jobs.deliveries.failed(delivery.id, "gone", None)
        await expire()
        assert await left() == 0

    run(shared, scenario)


def test_a_webhook_is_due_at_once_also_if_the_clock_was_set_back(place: Place) -> None:
    async def scenario(jobs: JobRepository) -> None:
        for number, ended in ((1, 8000.0), (2, 7000.0)):
            record = job(number, callback_url="https://x")
            await jobs.add(record, PARAMETERS)
            await jobs.finish(done(record, ended=ended), await generated())
        assert {taken.job_id for taken in await jobs.deliveries.take_due(100, 9, 160)} == {job(1).id, job(2).id}

    run(place, scenario)


def test_any_number_of_jobs_is_dropped_at_once(shared: Place) -> None:
    async def scenario(jobs: SqlJobRepository) -> None:
        more = {"parameters": None, "uploads": "{}", "images": "[]", "worker": None, "lease_until": 0.0}
        most = 0

        def note(_c: object, _cursor: object, _statement: object, parameters: Any, _x: object, many: bool) -> None:
            nonlocal most
            most = max(most, 0 if many else len(parameters))

        async with jobs._database.transaction() as connection:
            await connection.execute(insert(JOBS), [{**row_of(done(job(n))), **more} for n in range(1, 2502)])
        event.listen(jobs._database._engine.sync_engine, "before_cursor_execute", note)
        await jobs.expire(Retention(keep_s=0), 99)
        assert await jobs.page(JobQuery()) == []
        assert 1000 <= most < 1100

    run(shared, scenario)


def test_a_nul_is_kept_and_found_by_any_database(shared: Place) -> None:
    """PostgreSQL stores none in a text."""

    async def scenario(jobs: JobRepository) -> None:
        parameters = GenerationParameters(prompt="a\0b")
        await jobs.add(job(prompt="a\0b"), parameters)
        assert await jobs.parameters(job().id) == parameters
        assert [record.prompt for record in await jobs.page(JobQuery(prompt="\0"))] == ["a\ufffdb"]
        assert await jobs.page(JobQuery(model="\0")) == []
        assert (await jobs.get("\0"), await jobs.result("\0")) == (None, None)
        await jobs.forget("\0")

    run(shared, scenario)


def test_jobs_are_found_by_a_text_of_their_prompt_until_they_expire(place: Place) -> None:
    async def scenario(jobs: JobRepository) -> None:
        for number, prompt in enumerate(
            ["A red Circle, 100% matte", "a blue circle", "a 100 times finer one"], start=1
        ):
            await jobs.add(job(number, prompt=prompt), PARAMETERS)

        async def found(text: str) -> list[int]:
            return [int(record.id, 16) for record in await jobs.page(JobQuery(prompt=text))]

        assert await found("CIRCLE") == [2, 1]
        assert await found("100%") == [1], "no wildcard"
        assert await found("_") == []
        await jobs.forget(job(1).id)
        assert await found("circle") == [2]
        expired = await jobs.get(job(1).id)
        assert expired is not None
        assert expired.prompt == ""

    run(place, scenario)
