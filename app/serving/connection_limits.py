"""Decides which connections have taken too long, from facts alone."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionLimits:
    """How many connections there may be, and how slow they may be."""

    max_open: int
    max_of_address: int
    header_timeout_s: float
    """Seconds in which the header of a request must arrive."""
    write_timeout_s: float
    """Seconds in which a client must read what waits for it, besides those that it takes at `min_bytes_per_s`."""
    min_bytes_per_s: float


@dataclass(slots=True)
class UnreadAnswer:
    """Bytes that wait for a client to read them, looked at every second or so."""

    _since_s: float | None = None
    _left_nbytes: int = 0
    _read_nbytes: int = 0

    def note(self, left_nbytes: int, now_s: float) -> None:
        """Note how many bytes wait now."""
        if not left_nbytes:
            self.restart()
        elif self._since_s is None:
            self._since_s, self._read_nbytes = now_s, 0
        else:
            self._read_nbytes += max(0, self._left_nbytes - left_nbytes)
        self._left_nbytes = left_nbytes

    def restart(self) -> None:
        """Note that the client has read nearly all that waited."""
        self._since_s = None

    def is_overdue(self, now_s: float, limits: ConnectionLimits) -> bool:
        """Tell whether the client has read too little."""
        if self._since_s is None:
            return False
        return now_s - self._since_s > limits.write_timeout_s + self._read_nbytes / limits.min_bytes_per_s
