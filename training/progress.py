"""How far a stage is: in words, and what that leaves of the learning rate."""

import math
import time


class Progress:
    """Counts from the moment that it is made."""

    def __init__(self, steps: int) -> None:
        self._steps = steps
        self._begun = time.monotonic()

    def told(self, step: int) -> str:
        """The step that was taken last, the share of all, and the minutes that the rest will take at this pace."""
        left = (time.monotonic() - self._begun) / step * (self._steps - step) / 60
        return f"step {step} of {self._steps} ({step / self._steps:.0%}, {left:.0f} min left)"


def cosine(done: float) -> float:
    """What is left of the learning rate when `done` (0 to 1) of the training is done."""
    return 0.02 + 0.98 * math.cos(math.pi / 2 * done) ** 2
