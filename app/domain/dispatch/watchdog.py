"""Detects a device that no longer finishes steps although work runs on it."""

from collections.abc import Callable

from ..errors import EngineStuck


class Watchdog:
    """Compares the time since the last heartbeat with a limit. The engine thread sends heartbeats; the event loop checks."""

    def __init__(self, clock: Callable[[], float], stuck_after_s: float) -> None:
        """Begin with a heartbeat; after `stuck_after_s` seconds without another the device counts as unresponsive."""
        self._clock = clock
        self._stuck_after_s = stuck_after_s
        self._last_s = clock()
        self._unresponsive: EngineStuck | None = None

    @property
    def unresponsive(self) -> EngineStuck | None:
        """Error that names the silence; None while the device answers."""
        return self._unresponsive

    def heartbeat(self) -> None:
        """Note that work begins or ends, or that a step was finished; an unresponsive device has recovered. Any thread."""
        self._last_s = self._clock()
        self._unresponsive = None

    def check(self) -> EngineStuck | None:
        """Return the error if the device has just become unresponsive, None otherwise. Call it only while work runs."""
        silent_s = self._clock() - self._last_s
        # Reported once: the caller ends all jobs on it.
        if self._unresponsive is not None or silent_s < self._stuck_after_s:
            return None
        self._unresponsive = EngineStuck(silent_s, self._stuck_after_s)
        return self._unresponsive
