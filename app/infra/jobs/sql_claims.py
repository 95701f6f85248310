"""Which process has which unfinished jobs: leases of time, beside the marks by which a process sees others of its machine end."""

from collections.abc import Callable, Sequence
from typing import Any

from sqlalchemy import ColumnElement, case, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.sql.dml import ReturningUpdate

from ...domain.jobs.record import JobRecord
from .database import Database
from .disk import on_disk
from .process_mark import ProcessMark
from .rows import SHOWN, record_of
from .selections import UNFINISHED
from .tables import JOBS

_SUSPECT = JOBS.c.load_begun | (JOBS.c.state == "running")
"""Jobs that may be what has ended their process."""


class SqlClaims:
    """Takes, renews and gives back the jobs of one process."""

    def __init__(self, database: Database, mark: ProcessMark, *, lease_s: float, clock: Callable[[], float]) -> None:
        """Claim nothing yet.

        Args:
            database: of the jobs.
            mark: of this process.
            lease_s: seconds of silence after which another process takes the unfinished jobs of this one.
            clock: seconds since the epoch, which other processes compare with theirs.
        """
        self._database = database
        self._mark = mark
        self._lease_s = lease_s
        self._clock = clock
        self._renewed: float | None = None

    def new(self) -> dict[str, Any]:
        """Return the columns of a job that this process has from its acceptance."""
        return {"worker": self._mark.name, "lease_until": self._clock() + self._lease_s}

    @property
    def ours(self) -> tuple[ColumnElement[bool], ColumnElement[bool]]:
        """Conditions of unfinished jobs of this process: one that was silent for too long changes nothing of others."""
        return JOBS.c.worker == self._mark.name, UNFINISHED

    async def claim(self, now: float, limit: int) -> list[JobRecord]:
        """Take jobs over; see `JobRepository.claim`."""
        ended = await on_disk(self._mark.ended)
        free = or_(JOBS.c.worker.is_(None), JOBS.c.lease_until < now, JOBS.c.worker.in_(ended)) & UNFINISHED
        async with self._database.transaction() as connection:
            claimed = await self._take(connection, free & JOBS.c.cancel_requested, now, None)
            if limit:
                claimed += await self._take(connection, free & ~JOBS.c.cancel_requested, now, limit)
        if limit and not claimed:  # so that the processes that have ended have no unfinished jobs
            await on_disk(self._mark.forget, ended)
        return sorted(claimed, key=lambda job: (job.created, job.id))

    async def _take(
        self, connection: AsyncConnection, free: ColumnElement[bool], now: float, limit: int | None
    ) -> list[JobRecord]:
        # Nearly always there is none; then nothing is locked.
        if (await connection.execute(select(JOBS.c.id).where(free).limit(1))).first() is None:
            return []
        return [record_of(row) for row in (await connection.execute(self._taking(free, now, limit))).mappings()]

    def _taking(self, free: ColumnElement[bool], now: float, limit: int | None) -> ReturningUpdate[Any]:
        """Make the statement that takes the oldest of the jobs that are free; all of them without a limit."""
        oldest = select(JOBS.c.id).where(free).order_by(JOBS.c.created, JOBS.c.id).limit(limit)
        # PostgreSQL: other processes that claim now get the next jobs, instead of waiting for these. SQLite has one writer.
        # Selected once in a CTE: a subquery with a limit may be evaluated for each row.
        picked = oldest.with_for_update(skip_locked=True).cte("oldest")
        statement = update(JOBS).where(JOBS.c.id.in_(select(picked.c.id)), free)
        values = {
            "worker": self._mark.name,
            "lease_until": now + self._lease_s,
            "restarts": case((_SUSPECT, JOBS.c.restarts + 1), else_=JOBS.c.restarts),
            "load_begun": False,
            "state": "queued",
        }
        return statement.values(values).returning(*SHOWN)

    async def begin_load(self, job_id: str) -> None:
        """Note a load; see `JobRepository.begin_load`."""
        async with self._database.transaction() as connection:
            await connection.execute(update(JOBS).where(JOBS.c.id == job_id, *self.ours).values(load_begun=True))

    async def release(self, job_ids: Sequence[str]) -> None:
        """Give jobs back; see `JobRepository.release`."""
        unbegun = {"state": "queued", "worker": None, "load_begun": False}
        statement = update(JOBS).where(JOBS.c.id.in_(job_ids), *self.ours).values(unbegun)
        async with self._database.transaction() as connection:
            await connection.execute(statement)

    async def renew(self, now: float) -> None:
        """Renew the lease of the jobs of this process; see `JobRepository.renew`."""
        if self._renewed is not None and 0 <= now - self._renewed < self._lease_s / 3:
            return
        statement = update(JOBS).where(*self.ours).values(lease_until=now + self._lease_s)
        async with self._database.transaction() as connection:
            await connection.execute(statement)
        self._renewed = now

    async def detach(self, job_id: str) -> None:
        """Note that no client need wait; see `JobRepository.detach`."""
        async with self._database.transaction() as connection:
            await connection.execute(update(JOBS).where(JOBS.c.id == job_id, UNFINISHED).values(detached=True))

    async def request_cancel(self, job_id: str) -> None:
        """Note the wish; see `JobRepository.request_cancel`."""
        async with self._database.transaction() as connection:
            await connection.execute(update(JOBS).where(JOBS.c.id == job_id, UNFINISHED).values(cancel_requested=True))

    async def to_cancel(self) -> list[str]:
        """Return jobs of this process that are to end; see `JobRepository.to_cancel`."""
        async with self._database.transaction() as connection:
            rows = await connection.execute(select(JOBS.c.id).where(*self.ours, JOBS.c.cancel_requested))
            return [row.id for row in rows]
