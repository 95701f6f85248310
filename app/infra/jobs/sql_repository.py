"""Jobs in a database, their pictures and images as files beside it."""

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec
from sqlalchemy import ColumnElement, bindparam, delete, insert, select, update
from sqlalchemy.exc import IntegrityError

from ...domain.errors import ExpiredJob, KeyTaken, StorageUnavailable
from ...domain.generator import Generated
from ...domain.jobs.keeping.retention import Retention
from ...domain.jobs.record import JobProgress, JobQuery, JobRecord
from ...domain.jobs.webhooks.webhook import delivery_of
from ...domain.requests.parameters import GenerationParameters
from ...domain.units import format_bytes
from .database import Database
from .disk import on_disk
from .job_files import JobFiles
from .process_mark import ProcessMark
from .result_codec import decode_result, encode_result
from .rows import SHOWN, progress_row, record_of, row_of
from .selections import beyond, conditions_of
from .sql_claims import SqlClaims
from .sql_deliveries import SqlDeliveries, left_over, new_delivery
from .tables import DELIVERIES, JOBS

_REMEMBERED = 10_000
"""Expired jobs that are known to have existed, so that they are not reported as unknown."""
_DROPPED_AT_ONCE = 1000
"""Jobs that one transaction drops."""
_ORPHANED_S = 3600
"""Age of files, in seconds, after which their job must be in the database."""
_PICTURES = ("image", "mask")
"""Fields of the parameters that hold files."""
_NOTHING: Mapping[str, Any] = {"key": None, "parameters": None, "uploads": "{}", "events": "[]", "failure": None}
_DROPPED = {**_NOTHING, "result": None, "prompt": "", "images": "[]", "nbytes": 0, "expired": True, "worker": None}
"""What is left of an expired job."""


class SqlJobRepository:
    """Implements `JobRepository`. The event loop waits for no disk: statements and files run in threads."""

    def __init__(
        self,
        database: Database,
        files: JobFiles,
        mark: ProcessMark,
        *,
        lease_s: float,
        min_free_nbytes: int,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Make no connection yet.

        Args:
            database: of the jobs.
            files: of the jobs; processes that share the database share them, too.
            mark: of this process.
            lease_s: seconds of silence after which another process takes the unfinished jobs of this one.
            min_free_nbytes: bytes that stay free on the disk: no job is accepted with less.
            clock: seconds since the epoch, which other processes compare with theirs.
        """
        self._database = database
        self._files = files
        self._mark = mark
        self._min_free_nbytes = min_free_nbytes
        self._clock = clock
        self._claims = SqlClaims(database, mark, lease_s=lease_s, clock=clock)
        self._deliveries = SqlDeliveries(database)

    @property
    def durable(self) -> bool:
        """True: they outlive the process."""
        return True

    @property
    def deliveries(self) -> SqlDeliveries:
        """Webhooks of the jobs that have ended."""
        return self._deliveries

    async def open(self) -> None:
        """Make the folders and the tables; see `JobRepository.open`."""
        try:
            await asyncio.to_thread(self._files.prepare)
            await asyncio.to_thread(self._mark.set)
        except OSError as error:
            raise StorageUnavailable(
                f"The folder of jobs cannot be written: {error}. Choose another one (jobs.directory), or state "
                'jobs.directory = "" to keep jobs in memory only.'
            ) from error
        await self._database.migrate()
        await self._drop_orphans()

    async def _drop_orphans(self) -> None:
        """Drop files of jobs that were never accepted, because a process was killed in between."""
        with_files = await on_disk(lambda: list(self._files.jobs(older_than=self._clock() - _ORPHANED_S)))
        async with self._database.transaction() as connection:
            kept = {row.id for row in await connection.execute(select(JOBS.c.id).where(~JOBS.c.expired))}
        for job_id in set(with_files) - kept:
            await self._drop_files(job_id)

    async def close(self) -> None:
        """Close the database; see `JobRepository.close`."""
        await self._database.close()
        await asyncio.to_thread(self._mark.remove)

    async def add(self, job: JobRecord, parameters: GenerationParameters) -> None:
        """Keep a new job; see `JobRepository.add`."""
        pictures = {name: data for name in _PICTURES if (data := getattr(parameters, name)) is not None}
        names = await self._put(job.id, list(pictures.values()), spare=True)
        row = {
            **row_of(job),
            "parameters": _json(msgspec.structs.replace(parameters, image=None, mask=None)),
            "uploads": _json(dict(zip(pictures, names, strict=True))),
            "images": "[]",
            **self._claims.new(),
        }
        try:
            async with self._database.transaction() as connection:
                await connection.execute(insert(JOBS).values(row))
        except IntegrityError as error:
            await self._drop_files(job.id)
            raise KeyTaken(job.key or "") from error
        except StorageUnavailable:
            await self._drop_files(job.id)
            raise

    async def note(self, progress: Sequence[JobProgress]) -> None:
        """Take over progress; see `JobRepository.note`."""
        statement = update(JOBS).where(JOBS.c.id == bindparam("job_id"), *self._claims.ours)
        rows = [progress_row(each) for each in progress]
        statement = statement.values({name: bindparam(name) for name in rows[0] if name != "job_id"})
        async with self._database.transaction() as connection:
            await connection.execute(statement, rows)

    async def finish(self, job: JobRecord, result: Generated | None) -> bool:
        """Take over an outcome; see `JobRepository.finish`."""
        ours = (JOBS.c.id == job.id, *self._claims.ours)
        async with self._database.transaction() as connection:
            uploads = await connection.scalar(select(JOBS.c.uploads).where(*ours))
        if uploads is None:
            return False
        files = [image.data for image in result.images] if result is not None else []
        names = await self._put(job.id, files)
        values = {
            **row_of(job),
            "key": JOBS.c.key if job.key is not None else None,
            "cancel_requested": JOBS.c.cancel_requested,
            "detached": True if job.detached else JOBS.c.detached,
            "parameters": None,
            "uploads": "{}",
            "result": None if result is None else await asyncio.to_thread(encode_result, result),
            "images": _json(names),
            "worker": None,
        }
        async with self._database.transaction() as connection:
            finished = (await connection.execute(update(JOBS).where(*ours).values(values))).rowcount == 1
            if finished and (delivery := delivery_of(job)) is not None:
                await connection.execute(new_delivery(delivery))
        if finished:
            sent = msgspec.json.decode(uploads, type=dict[str, str])
            await on_disk(self._files.drop, job.id, {*sent.values()} - {*names})
        # Otherwise the files stay until the job is dropped: the process that has it may have written the same ones.
        return finished

    async def get(self, job_id: str) -> JobRecord | None:
        """Return a job; see `JobRepository.get`."""
        return await self._one(JOBS.c.id == job_id)

    async def with_key(self, client: str, key: str) -> JobRecord | None:
        """Return the job of a key; see `JobRepository.with_key`."""
        return await self._one(JOBS.c.client == client, JOBS.c.key == key)

    async def result(self, job_id: str) -> Generated | None:
        """Return images; see `JobRepository.result`."""
        async with self._database.transaction() as connection:
            found = (await connection.execute(select(JOBS.c.result, JOBS.c.images).where(JOBS.c.id == job_id))).first()
        if found is None or found.result is None:
            return None
        return await on_disk(self._read_result, job_id, found.result, found.images)

    def _read_result(self, job_id: str, text: str, names: str) -> Generated | None:
        files = self._files.read(job_id, msgspec.json.decode(names, type=list[str]))
        return None if files is None else decode_result(text, files)

    async def page(self, query: JobQuery) -> list[JobRecord]:
        """List jobs; see `JobRepository.page`."""
        newest_first = (JOBS.c.created.desc(), JOBS.c.id.desc())
        statement = select(*SHOWN).where(*conditions_of(query)).order_by(*newest_first).limit(query.limit)
        async with self._database.transaction() as connection:
            return [record_of(row) for row in (await connection.execute(statement)).mappings()]

    async def drop_key(self, job_id: str) -> None:
        """Free a key; see `JobRepository.drop_key`."""
        async with self._database.transaction() as connection:
            await connection.execute(update(JOBS).where(JOBS.c.id == job_id).values(key=None))

    async def forget(self, job_id: str) -> None:
        """Drop a job; see `JobRepository.forget`."""
        await self._drop([job_id])

    async def expire(self, retention: Retention, now: float) -> None:
        """Drop old jobs; see `JobRepository.expire`."""
        async with self._database.transaction() as connection:
            ids = [row.id for row in await connection.execute(beyond(retention, now))]
            delivery = (await connection.execute(select(DELIVERIES.c.id).where(left_over()).limit(1))).first()
        if ids or delivery is not None:
            # PostgreSQL takes up to 32,767 parameters in a statement.
            for begin in range(0, max(len(ids), 1), _DROPPED_AT_ONCE):
                await self._drop(ids[begin : begin + _DROPPED_AT_ONCE])

    async def _drop(self, job_ids: Sequence[str]) -> None:
        newest = select(JOBS.c.id).where(JOBS.c.expired).order_by(JOBS.c.created.desc()).limit(_REMEMBERED)
        async with self._database.transaction() as connection:
            await connection.execute(update(JOBS).where(JOBS.c.id.in_(job_ids)).values(_DROPPED))
            await connection.execute(delete(JOBS).where(JOBS.c.expired, JOBS.c.id.not_in(newest)))
            await connection.execute(delete(DELIVERIES).where(left_over()))
        for job_id in job_ids:
            await self._drop_files(job_id)

    async def parameters(self, job_id: str) -> GenerationParameters:
        """Return parameters; see `JobRepository.parameters`."""
        wanted = select(JOBS.c.parameters, JOBS.c.uploads).where(JOBS.c.id == job_id)
        async with self._database.transaction() as connection:
            found = (await connection.execute(wanted)).first()
        if found is None or found.parameters is None:
            raise ExpiredJob(job_id)
        uploads = msgspec.json.decode(found.uploads, type=dict[str, str])
        files = await on_disk(self._files.read, job_id, uploads.values())
        if files is None:
            raise ExpiredJob(job_id)
        parameters = msgspec.json.decode(found.parameters, type=GenerationParameters)
        return msgspec.structs.replace(parameters, **dict(zip(uploads, files, strict=True)))

    async def claim(self, now: float, limit: int) -> list[JobRecord]:
        """Take jobs over; see `JobRepository.claim`."""
        return await self._claims.claim(now, limit)

    async def begin_load(self, job_id: str) -> None:
        """Note a load on disk; see `JobRepository.begin_load`."""
        await self._claims.begin_load(job_id)

    async def release(self, job_ids: Sequence[str]) -> None:
        """Give jobs back; see `JobRepository.release`."""
        await self._claims.release(job_ids)

    async def renew(self, now: float) -> None:
        """Renew the lease of the jobs of this process; see `JobRepository.renew`."""
        await self._claims.renew(now)

    async def detach(self, job_id: str) -> None:
        """Note that no client need wait; see `JobRepository.detach`."""
        await self._claims.detach(job_id)

    async def request_cancel(self, job_id: str) -> None:
        """Note the wish; see `JobRepository.request_cancel`."""
        await self._claims.request_cancel(job_id)

    async def to_cancel(self) -> list[str]:
        """Return jobs of this process that are to end; see `JobRepository.to_cancel`."""
        return await self._claims.to_cancel()

    async def _one(self, *conditions: ColumnElement[bool]) -> JobRecord | None:
        async with self._database.transaction() as connection:
            row = (await connection.execute(select(*SHOWN).where(*conditions))).mappings().first()
        return None if row is None else record_of(row)

    async def _put(self, job_id: str, files: Sequence[bytes], *, spare: bool = False) -> list[str]:
        """Write files of a job.

        Args:
            job_id: of the job.
            files: their contents.
            spare: whether some of the disk must stay free.
        """
        return await on_disk(self._put_now, job_id, files, spare=spare)

    def _put_now(self, job_id: str, files: Sequence[bytes], *, spare: bool) -> list[str]:
        free = self._files.free_nbytes()
        if spare and free - sum(map(len, files)) < self._min_free_nbytes:
            raise StorageUnavailable(
                f"The disk of jobs.directory has {format_bytes(free)} left; no job is accepted with less than "
                f"{format_bytes(self._min_free_nbytes)} (jobs.min_free_bytes). Jobs are accepted again once there is space."
            )
        return self._files.put(job_id, files)

    async def _drop_files(self, job_id: str) -> None:
        await on_disk(self._files.drop, job_id)


def _json(value: object) -> str:
    return msgspec.json.encode(value).decode()
