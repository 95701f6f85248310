"""Measures how long the device works, without waiting for it."""

import time
from collections.abc import Callable

import torch

Lap = Callable[[], float]
"""Returns the duration in seconds. Call it once the device has done the work, for instance after a copy from it."""


class Stopwatch:
    """Measures one stretch of work after another on one device. Engine thread only.

    A CUDA device works asynchronously: the stopwatch records events in its stream, which needs no synchronisation.
    """

    def __init__(self, device: torch.device) -> None:
        self._cuda = device.type == "cuda"
        self._begun: float = 0.0
        self._first: torch.cuda.Event | None = None

    def start(self) -> None:
        """Begin a measurement."""
        if self._cuda:
            self._first = torch.cuda.Event(enable_timing=True)
            self._first.record()
        else:
            self._begun = time.perf_counter()

    def stop(self) -> Lap:
        """End the measurement; returns a function that reads it."""
        if self._first is None:
            seconds = time.perf_counter() - self._begun
            return lambda: seconds
        first, last = self._first, torch.cuda.Event(enable_timing=True)
        last.record()

        def elapsed() -> float:
            last.synchronize()
            return first.elapsed_time(last) / 1000

        return elapsed
