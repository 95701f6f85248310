"""Deliveries of webhooks in the database of jobs. A finished job and its delivery are kept in one transaction."""

from typing import Any

from sqlalchemy import ColumnElement, Insert, insert, select, update

from ...domain.jobs.webhooks.webhook import Delivery
from .database import Database
from .tables import DELIVERIES, JOBS

_FIELDS = ("id", "job_id", "url", "payload", "created", "attempts")
_AT_ONCE = 0.0
_PENDING = DELIVERIES.c.state == "pending"


def new_delivery(delivery: Delivery) -> Insert:
    """Make the statement that keeps a delivery, due at once; no clock is asked."""
    row = {name: getattr(delivery, name) for name in _FIELDS}
    return insert(DELIVERIES).values(**row, state="pending", due=_AT_ONCE)


def left_over() -> ColumnElement[bool]:
    """Return the condition of deliveries whose jobs are dropped; those that are not made yet are still made."""
    kept = select(JOBS.c.id).where(JOBS.c.id == DELIVERIES.c.job_id, ~JOBS.c.expired)
    return ~_PENDING & ~kept.exists()


class SqlDeliveries:
    """Implements `Deliveries`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def take_due(self, now: float, limit: int, lost_at: float) -> list[Delivery]:
        """Take what is due; see `Deliveries.take_due`."""
        due = _PENDING & (DELIVERIES.c.due <= now)
        oldest = select(DELIVERIES.c.id).where(due).order_by(DELIVERIES.c.due, DELIVERIES.c.created).limit(limit)
        picked = oldest.with_for_update(skip_locked=True).cte("oldest")
        statement = update(DELIVERIES).where(DELIVERIES.c.id.in_(select(picked.c.id)), due)
        values = {"due": lost_at, "attempts": DELIVERIES.c.attempts + 1}
        columns = [DELIVERIES.c[name] for name in _FIELDS]
        async with self._database.transaction() as connection:
            rows = (await connection.execute(statement.values(values).returning(*columns))).mappings()
            return [Delivery(**row) for row in rows]  # pyright: ignore[reportCallIssue] - the columns are its fields

    async def delivered(self, delivery_id: str) -> None:
        """Note success; see `Deliveries.delivered`."""
        await self._change(delivery_id, state="delivered", problem=None)

    async def failed(self, delivery_id: str, problem: str, due: float | None) -> None:
        """Note a failure; see `Deliveries.failed`."""
        changes: dict[str, Any] = {"state": "failed"} if due is None else {"due": due}
        await self._change(delivery_id, problem=problem, **changes)

    async def _change(self, delivery_id: str, **changes: Any) -> None:
        async with self._database.transaction() as connection:
            await connection.execute(update(DELIVERIES).where(DELIVERIES.c.id == delivery_id).values(**changes))
