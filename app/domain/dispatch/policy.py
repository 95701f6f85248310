"""The limits of a dispatcher."""

from dataclasses import dataclass, field

from .fair_queue import AgingPolicy


@dataclass(frozen=True, slots=True, kw_only=True)
class DispatchPolicy:
    """Limits of the queue, of the batch and of silence."""

    max_waiting: int = 128
    """Jobs that may wait before the next one is refused."""
    max_waiting_per_client: int | None = None
    """Jobs of one client that may wait before its next one is refused; None: as many as there are free places."""
    max_wait_s: float | None = None
    """Seconds after which a job that has not begun to run fails; None for no limit."""
    aging: AgingPolicy = field(default_factory=AgingPolicy)
    max_rows: int = 16
    """Rows of the largest batch of the denoiser; an image with guidance takes two."""
    slice_s: float = 2.0
    """Seconds for which a batch runs before it gives way to a client that has had less of the device."""
    stuck_after_s: float = 600.0
    """Seconds without a finished step after which the device counts as unresponsive."""
