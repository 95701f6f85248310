"""Which rows of the table of jobs a question is about."""

from typing import Any

from sqlalchemy import ColumnElement, func, or_, select, tuple_

from ...domain.jobs.keeping.retention import Retention
from ...domain.jobs.record import JobQuery
from .tables import JOBS

UNFINISHED = JOBS.c.ended.is_(None) & ~JOBS.c.expired


def conditions_of(query: JobQuery) -> list[ColumnElement[bool]]:
    """Return what is true of the jobs of a list."""
    jobs, conditions = JOBS.c, [~JOBS.c.expired]
    equal = ((jobs.client, query.owner), (jobs.state, query.state), (jobs.model, query.model))
    conditions += [column == value for column, value in equal if value is not None]
    if query.prompt is not None:
        conditions.append(jobs.prompt.icontains(query.prompt, autoescape=True))
    if query.created_from is not None:
        conditions.append(jobs.created >= query.created_from)
    if query.created_before is not None:
        conditions.append(jobs.created < query.created_before)
    if query.after is not None:
        conditions.append(tuple_(jobs.created, jobs.id) < tuple_(query.after.created, query.after.id))
    return conditions


def beyond(retention: Retention, now: float) -> Any:
    """Select the finished jobs that are beyond a limit, as `retention.to_drop` does."""
    newest_first = (JOBS.c.ended.desc(), JOBS.c.id.desc())
    finished = (
        select(
            JOBS.c.id,
            JOBS.c.ended,
            func.row_number().over(order_by=newest_first).label("place"),
            func.sum(JOBS.c.nbytes).over(order_by=newest_first).label("nbytes"),
        )
        .where(JOBS.c.ended.is_not(None), ~JOBS.c.expired)
        .subquery()
    )
    return select(finished.c.id).where(
        or_(
            finished.c.ended <= now - retention.keep_s,
            finished.c.place > retention.max_finished,
            finished.c.nbytes > retention.max_result_nbytes,
        )
    )
