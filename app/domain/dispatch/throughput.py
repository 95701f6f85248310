"""What was observed of the device's speed: how large a batch pays, and how long a request will take. Event loop only."""

from dataclasses import dataclass, field

from ..models.spec import ModelName
from ..requests.rendering import RenderResult, StepTiming
from ..requests.request import GenerationRequest
from .lanes import Lane, lane_of, rows_an_image, work_of

WORTH = 1.05
"""A larger batch pays if it does at least so many times the rows a second of the best smaller one."""
FIRST_ROWS = 4
"""As many rows are tried before anything is known: two requests with guidance."""
_WEIGHT = 0.3
"""Of a new observation."""
_TRY_AGAIN = 500
"""So many steps after a larger batch was found not to pay it is tried again: the machine may have been busy."""


@dataclass(slots=True)
class _Seen:
    seconds: float
    """A step."""
    at: int
    """The lane's count of steps when this was last seen."""


@dataclass(slots=True)
class _LaneStatistics:
    steps: int = 0
    by_rows: dict[int, _Seen] = field(default_factory=dict[int, _Seen])

    def note(self, timing: StepTiming) -> None:
        self.steps += timing.steps
        seconds = timing.seconds / max(timing.steps, 1)
        known = self.by_rows.get(timing.rows)
        if known is not None:
            seconds = known.seconds + (seconds - known.seconds) * _WEIGHT
        self.by_rows[timing.rows] = _Seen(seconds, self.steps)

    def fresh(self, rows: int) -> bool:
        return self.steps - self.by_rows[rows].at <= _TRY_AGAIN


class ThroughputModel:
    """Learns from requests that ran."""

    def __init__(self, max_rows: int) -> None:
        """Know nothing yet; batches never grow beyond `max_rows` rows."""
        self._max_rows = max_rows
        self._lanes: dict[Lane, _LaneStatistics] = {}
        self._seconds_a_unit: dict[ModelName, float] = {}

    def note(self, request: GenerationRequest, rendered: RenderResult) -> None:
        """Learn from a request that ran: its steps by the rows of the batch, and its own share of the device's time."""
        lane_statistics = self._lanes.setdefault(lane_of(request), _LaneStatistics())
        for timing in rendered.step_timings:
            lane_statistics.note(timing)
        own = rows_an_image(request)
        shares = (
            sum(timing.seconds * min(1.0, own / timing.rows) for timing in rendered.step_timings) or rendered.denoise_s
        )
        unit = (shares + rendered.encode_s + rendered.decode_s) / work_of(request)
        known = self._seconds_a_unit.get(request.model, unit)
        self._seconds_a_unit[request.model] = known + (unit - known) * _WEIGHT

    def best_rows(self, lane: Lane) -> int:
        """The largest batch of a lane that is worth running; twice the best known while growing has paid so far."""
        lane_statistics = self._lanes.get(lane)
        if lane_statistics is None or not lane_statistics.by_rows:
            return min(FIRST_ROWS, self._max_rows)
        tried = sorted(rows for rows in lane_statistics.by_rows if lane_statistics.fresh(rows)) or [
            min(lane_statistics.by_rows)
        ]
        best = tried[0]
        for rows in tried[1:]:
            if rows / lane_statistics.by_rows[rows].seconds >= WORTH * best / lane_statistics.by_rows[best].seconds:
                best = rows
        grown = best * 2 if best == tried[-1] else best
        return min(max(grown, FIRST_ROWS if len(tried) == 1 else 1), self._max_rows)

    def seconds(self, request: GenerationRequest) -> float | None:
        """Seconds of the device that a request will take, loading apart; None before its model has made an image."""
        unit = self._seconds_a_unit.get(request.model)
        return None if unit is None else unit * work_of(request)
