"""Whether the device still moves: it must finish a step from time to time while anything runs."""

from collections.abc import Callable

from ..errors import EngineStuck


class Watchdog:
    """Noted by the engine's thread, read by the event loop."""

    def __init__(self, clock: Callable[[], float], stuck_after_s: float) -> None:
        """Begin with a sign of life; after `stuck_after_s` seconds without another the device is taken for stuck."""
        self._clock = clock
        self._stuck_after_s = stuck_after_s
        self._last_s = clock()
        self._unresponsive: EngineStuck | None = None

    @property
    def unresponsive(self) -> EngineStuck | None:
        """Why the device is taken for stuck; None while it moves."""
        return self._unresponsive

    def heartbeat(self) -> None:
        """A step was finished, or something new has begun. Any thread; whatever was stuck has come free."""
        self._last_s = self._clock()
        self._unresponsive = None

    def check(self) -> EngineStuck | None:
        """Call it while something runs: the failure, when it is noticed."""
        silent_s = self._clock() - self._last_s
        if self._unresponsive is not None or silent_s < self._stuck_after_s:
            return None
        self._unresponsive = EngineStuck(silent_s)
        return self._unresponsive
