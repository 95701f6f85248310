"""Progress of a stage: a line of text, and the decay of the learning rate."""

import math
import time


class Progress:
    """Measures time from its construction."""

    def __init__(self, steps: int) -> None:
        self._steps = steps
        self._begun = time.monotonic()

    def told(self, step: int) -> str:
        """Describe the last step, its share of all steps, and the estimated minutes that are left."""
        left = (time.monotonic() - self._begun) / step * (self._steps - step) / 60
        return f"step {step} of {self._steps} ({step / self._steps:.0%}, {left:.0f} min left)"


def cosine(done: float) -> float:
    """Return the factor of the learning rate when `done` (0 to 1) of the training is done."""
    return 0.02 + 0.98 * math.cos(math.pi / 2 * done) ** 2
