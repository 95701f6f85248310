"""The limits of a dispatcher."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from .fair_queue import AgingPolicy


@dataclass(frozen=True, slots=True, kw_only=True)
class DispatchPolicy:
    """Limits of the queue, of the batch and of silence."""

    max_waiting: int = 128
    """Jobs that may wait before the next one is refused."""
    max_waiting_per_client: int | None = None
    """Jobs of one client that may wait before its next one is refused; None: as many as there are free places."""
    max_waiting_by_client: Mapping[str, tuple[int, str]] = field(default_factory=dict[str, tuple[int, str]])
    """The same for the clients named here, each with the setting that says so."""
    max_wait_s: float | None = None
    """Seconds after which a job that has not begun to run fails; None for no limit."""
    max_request_s: float | None = None
    """Seconds that one request may take the device; None for no limit."""
    aging: AgingPolicy = field(default_factory=AgingPolicy)
    max_rows: int = 16
    """Rows of the largest batch of the denoiser; an image with guidance takes two."""
    slice_s: float = 2.0
    """Seconds for which a batch runs before it gives way to a client that has had less of the device."""
    whole_decode_px: int | None = None
    """Pixels of the largest image that a CPU decodes in one piece; None for no limit."""
    stuck_after_s: float = 600.0
    """Seconds without a finished step after which the device counts as unresponsive."""

    def limit_of(self, client: str) -> tuple[int | None, str]:
        """Return how many jobs of a client may wait, None for no limit of its own, and the setting that says so."""
        usual = (self.max_waiting_per_client, "limits.max_waiting_per_client")
        return self.max_waiting_by_client.get(client, usual)
