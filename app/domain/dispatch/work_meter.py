"""Measures the work that the device has done for a request, by which clients get fair shares."""

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
    stride: int = 1
    """Steps of the latest report that told of any: as many as images that are made together."""
    measured: int = 0
    """Steps whose seconds are known."""
    steps_s: float = 0.0
    """Seconds of these steps."""
    beside_s: float = 0.0
    """Seconds of all else: of encoding and of decoding."""


class WorkMeter:
    """Counts the steps of one stage of a job; other work counts as the steps that the device could take in that time.

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
        if done < before.done:
            before = _Reading(at_s=before.at_s)
        seconds, steps = now - before.at_s, done - before.done
        if steps:
            self._reading = replace(
                before,
                at_s=now,
                done=done,
                total=total,
                stride=steps,
                measured=before.measured + steps,
                steps_s=before.steps_s + seconds,
            )
        else:
            self._reading = replace(before, at_s=now, total=total, beside_s=before.beside_s + seconds)

    @property
    def fraction(self) -> float:
        """Work that is done, in parts of all its steps; more than 1 at the end, because of the work beside the steps."""
        return _fraction(self._reading)

    @property
    def fraction_soon(self) -> float:
        """The same after what the device does now, which it does not leave unfinished."""
        reading = self._reading
        return _fraction(replace(reading, done=reading.done + reading.stride))


def _fraction(reading: _Reading) -> float:
    if not reading.total:
        return 0.0
    beside = reading.beside_s * reading.measured / reading.steps_s if reading.steps_s else 0.0
    return (reading.done + beside) / reading.total
