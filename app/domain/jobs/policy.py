"""Limits of jobs."""

from dataclasses import dataclass, field

from .keeping.retention import Retention


@dataclass(frozen=True, slots=True, kw_only=True)
class JobPolicy:
    """Limits of unfinished and of finished jobs."""

    max_unfinished: int | None = None
    """Unfinished jobs before the next one is refused; None for no limit. The dispatcher does not count a job before its model was
    looked up, so its own limit is not enough."""
    retention: Retention = field(default_factory=Retention)
    """Which finished jobs are kept."""
