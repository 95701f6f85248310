"""Rows of the table of jobs, made from records, and back."""

from collections.abc import Sequence
from typing import Any

import msgspec
from sqlalchemy import RowMapping

from ...domain.jobs.event_log import JobEvent
from ...domain.jobs.record import Failure, JobProgress, JobRecord
from .tables import JOBS

_PLAIN = (
    "id",
    "model",
    "client",
    "created",
    "prompt",
    "key",
    "body",
    "detached",
    "state",
    "started",
    "ended",
    "steps_done",
    "steps_total",
    "restarts",
    "nbytes",
    "callback_url",
    "cancel_requested",
    "expired",
)
"""Fields of a record that are columns of the same name."""

SHOWN = [JOBS.c[name] for name in (*_PLAIN, "events", "failure")]
"""Columns of a record."""


def row_of(job: JobRecord) -> dict[str, Any]:
    """Return the columns of a record."""
    plain = {name: getattr(job, name) for name in _PLAIN}
    return {**plain, "events": events_text(job.events), "failure": _text(job.failure)}


def progress_row(progress: JobProgress) -> dict[str, Any]:
    """Return the columns of a job's progress; the id is a parameter of its own, because it is no new value."""
    return {
        "job_id": progress.id,
        "state": progress.state,
        "started": progress.started,
        "steps_done": progress.steps_done,
        "steps_total": progress.steps_total,
        "events": events_text(progress.events),
    }


def record_of(row: RowMapping) -> JobRecord:
    """Make a record from its columns."""
    failure = row["failure"]
    return JobRecord(
        **{name: row[name] for name in _PLAIN},
        events=_events(row["events"]),
        failure=None if failure is None else msgspec.json.decode(failure, type=Failure),
    )


def events_text(events: Sequence[JobEvent]) -> str:
    """Write events as JSON."""
    return msgspec.json.encode(events).decode()


def _events(text: str) -> tuple[JobEvent, ...]:
    return msgspec.json.decode(text, type=tuple[JobEvent, ...])


def _text(failure: Failure | None) -> str | None:
    return None if failure is None else msgspec.json.encode(failure).decode()
