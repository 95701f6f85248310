"""How long the device works on something, without waiting for it."""

import time
from collections.abc import Callable

import torch

Lap = Callable[[], float]
"""Seconds; to be asked for once the device has done the work, for instance after a copy from it."""


class Stopwatch:
    """Of one device. Engine thread only.

    A CUDA device works on its own time: what is measured there are events in its stream, which cost no synchronisation.
    """

    def __init__(self, device: torch.device) -> None:
        self._cuda = device.type == "cuda"
        self._begun: float = 0.0
        self._first: torch.cuda.Event | None = None

    def start(self) -> None:
        """From here on."""
        if self._cuda:
            self._first = torch.cuda.Event(enable_timing=True)
            self._first.record()
        else:
            self._begun = time.perf_counter()

    def stop(self) -> Lap:
        """Up to here."""
        if self._first is None:
            seconds = time.perf_counter() - self._begun
            return lambda: seconds
        first, last = self._first, torch.cuda.Event(enable_timing=True)
        last.record()

        def elapsed() -> float:
            last.synchronize()
            return first.elapsed_time(last) / 1000

        return elapsed
