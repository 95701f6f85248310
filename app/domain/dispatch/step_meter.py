"""Measures how far a stage of a job is, and when the step that the device takes for it will end."""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace


@dataclass(frozen=True, slots=True, kw_only=True)
class _Reading:
    """What was reported so far."""

    at_s: float = 0.0
    """Time of the latest report, or of the begin of the turn."""
    done: int = 0
    total: int = 0
    step_s: float | None = None
    """Seconds of the latest step, or of the latest steps that were taken together; None before the first."""


class StepMeter:
    """Counts the steps of one stage of a job.

    The engine's thread reports, the event loop reads: each report replaces the reading as a whole.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._reading = _Reading()

    def begin_turn(self) -> None:
        """Note that the device begins to work for the request: the time before was that of others."""
        self._reading = replace(self._reading, at_s=self._clock())

    def report(self, done: int, total: int) -> None:
        """Note that the device has done something for the request.

        Args:
            done: steps so far; fewer than before if the request has begun again, for want of memory.
            total: steps in all.
        """
        now, before = self._clock(), self._reading
        step_s = now - before.at_s if done > before.done else before.step_s
        self._reading = _Reading(at_s=now, done=done, total=total, step_s=step_s)

    @property
    def fraction(self) -> float:
        """Part of its steps that is done, 0 to 1."""
        return self._reading.done / self._reading.total if self._reading.total else 0.0

    def step_left_s(self, expected_s: float) -> float:
        """Estimate the seconds until the device is done with the step in progress, which it does not leave unfinished.

        Args:
            expected_s: estimated seconds of all steps, by which the first one is judged.
        """
        reading = self._reading
        step_s = reading.step_s if reading.step_s is not None else expected_s / max(reading.total, 1)
        return max(0.0, step_s - (self._clock() - reading.at_s)) if reading.total else 0.0
