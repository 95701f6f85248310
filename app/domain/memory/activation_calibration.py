"""Corrects predicted activation bytes by the peaks that were observed. Event loop only."""

from dataclasses import dataclass

from ..models.spec import ModelName
from ..requests.rendering import MemorySavings
from .activation_estimate import Demand

_FIXED_NBYTES = 256 * 1024**2
"""Bytes above which an excess over the prediction counts as proportional: below, it is mostly workspaces and text encoders,
which do not grow with the picture."""
_EASE = 0.1
"""Share of the way back that each request goes which needed less than expected."""
_FAILURE_FACTOR = 1.5
_MAX_MARGIN = 4.0


@dataclass(slots=True)
class _Record:
    ratio: float = 1.0
    """Observed bytes divided by predicted bytes."""
    margin: float = 1.0
    """Factor that failures raise: they tell that more is needed, but not how much."""


class ActivationCalibration:
    """Corrects predictions for each version of each model and dtype.

    A peak above the expectation counts at once, one below it slowly. An out-of-memory raises the margin, so that the next
    request reserves more; a margin only takes what there is, and refuses no request, because a device that was full for a
    moment says nothing about a model. If nothing can be observed (a CPU), predictions stand; they are scaled by the
    widths of the model's networks, so that a small model is not charged what a large one needs.
    """

    def __init__(self) -> None:
        self._records: dict[tuple[ModelName, str, int], _Record] = {}

    def expected_nbytes(self, demand: Demand, memory_savings: MemorySavings) -> int:
        """Predict the bytes of a request, corrected by observed peaks."""
        return _corrected(demand.predicted_nbytes(memory_savings), self._of(demand).ratio)

    def safe_nbytes(self, demand: Demand, memory_savings: MemorySavings) -> int:
        """Predict the bytes of a request with the margin that failures have raised."""
        return int(self.expected_nbytes(demand, memory_savings) * self._of(demand).margin)

    def safe_step_nbytes(self, demand: Demand, memory_savings: MemorySavings) -> int:
        """Predict the bytes of one image while it is denoised, with the margin."""
        record = self._of(demand)
        return int(_corrected(demand.predicted_step_nbytes(memory_savings), record.ratio) * record.margin)

    def succeeded(self, demand: Demand, memory_savings: MemorySavings, observed_nbytes: int | None) -> None:
        """Learn from a request that ran, and from its peak if the device reports one."""
        record = self._of(demand)
        record.margin -= (record.margin - 1) * _EASE
        if observed_nbytes is not None:
            seen = _ratio(demand.predicted_nbytes(memory_savings), observed_nbytes)
            record.ratio = seen if seen > record.ratio else record.ratio + (seen - record.ratio) * _EASE

    def failed(self, demand: Demand) -> None:
        """Learn from an out-of-memory."""
        record = self._of(demand)
        record.margin = min(record.margin * _FAILURE_FACTOR, _MAX_MARGIN)

    def _of(self, demand: Demand) -> _Record:
        return self._records.setdefault((demand.spec.name, demand.spec.version, demand.element_nbytes), _Record())


def _corrected(predicted: int, ratio: float) -> int:
    return int(predicted * ratio if ratio <= 1 else predicted + (ratio - 1) * max(predicted, _FIXED_NBYTES))


def _ratio(predicted: int, observed: int) -> float:
    """Invert `_corrected`."""
    if observed <= predicted:
        return observed / predicted
    return 1 + (observed - predicted) / max(predicted, _FIXED_NBYTES)
