"""Learns the device's speed: the batch size that is worth running, and the seconds that a request takes. Event loop only."""

from dataclasses import dataclass, field

from ..memory.plan import Plan
from ..models.spec import ModelName
from ..requests.render_request import RenderRequest
from ..requests.rendering import RenderResult, StepTiming
from .lanes import Lane, lane_of, work_of

WORTH = 1.05
"""Factor in rows a second by which a larger batch must beat the best smaller one to be worth running."""
FIRST_ROWS = 4
"""Rows that are tried before anything is known: two images with guidance."""
_WEIGHT = 0.3
"""Weight of a new observation in the running average."""
_SIMILAR = 0.25
"""Part of an image's pixels from which another size tells what it takes."""
_USUAL_UNIT_S = 1e-7
"""Assumed seconds a unit of work before anything is known: 0.1 s for a row of 1024 x 1024."""
_TRY_AGAIN = 500
"""Steps after which a batch size is measured again: the machine may have been busy when it was found too slow."""


@dataclass(slots=True)
class _Measured:
    seconds: float
    """Seconds a step, as a running average."""
    at: int
    """The lane's count of steps at the latest measurement."""


@dataclass(slots=True)
class _LaneStatistics:
    steps: int = 0
    by_rows: dict[int, _Measured] = field(default_factory=dict[int, _Measured])

    def note(self, timing: StepTiming) -> None:
        self.steps += timing.steps
        seconds = timing.seconds / max(timing.steps, 1)
        known = self.by_rows.get(timing.rows)
        if known is not None:
            seconds = known.seconds + (seconds - known.seconds) * _WEIGHT
        self.by_rows[timing.rows] = _Measured(seconds, self.steps)

    def fresh(self, rows: int) -> bool:
        return self.steps - self.by_rows[rows].at <= _TRY_AGAIN


class ThroughputModel:
    """Seconds a step by lane and batch size, and seconds a unit of work by weights; learned from requests that ran."""

    def __init__(self, max_rows: int, slice_s: float = float("inf")) -> None:
        """Begin without measurements.

        Args:
            max_rows: rows of the largest batch.
            slice_s: seconds beyond which a step of several images is not worth its throughput: it keeps others waiting.
        """
        self._max_rows = max_rows
        self._slice_s = slice_s
        self._lanes: dict[Lane, _LaneStatistics] = {}
        self._seconds_a_unit: dict[ModelName, float] = {}
        self._unit_by_size: dict[tuple[ModelName, int], float] = {}
        """Seconds a unit of work by model and pixels of an image: a small image is mostly overhead."""
        self._best_unit: dict[ModelName, dict[int, float]] = {}
        """The least seconds a unit of work, by model and pixels of an image."""

    def note(self, request: RenderRequest, rendered: RenderResult) -> None:
        """Learn from a request that ran: the seconds of its steps, and its own share of the device's time."""
        lane_statistics = self._lanes.setdefault(lane_of(request), _LaneStatistics())
        for timing in rendered.step_timings:
            lane_statistics.note(timing)
        own = request.rows_an_image
        # A step that was shared counts for the request by its part of the rows.
        shares = (
            sum(timing.seconds * min(1.0, own / timing.rows) for timing in rendered.step_timings) or rendered.denoise_s
        )
        unit = (shares + rendered.encode_s + rendered.decode_s) / work_of(request)
        best, pixels = self._best_unit.setdefault(request.assets.weights_of, {}), request.width * request.height
        best[pixels] = min(unit, best.get(pixels, unit))
        model = request.assets.weights_of
        self._seconds_a_unit[model] = _averaged(self._seconds_a_unit.get(model), unit)
        self._unit_by_size[model, pixels] = _averaged(self._unit_by_size.get((model, pixels)), unit)

    def best_rows(self, lane: Lane) -> int:
        """Return the rows of the largest batch of a lane that is worth running.

        It is twice the best measured size if no larger one was measured, so it grows until a larger batch is not worth running.
        A step of it takes a time slice at most.
        """
        return min(self._worthwhile_rows(lane), self._rows_in_a_slice(lane))

    def _worthwhile_rows(self, lane: Lane) -> int:
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

    def _rows_in_a_slice(self, lane: Lane) -> int:
        """Return the rows of which a step takes a time slice, at least 1, by the step that was measured last for this lane."""
        lane_statistics = self._lanes.get(lane)
        if lane_statistics is None or not lane_statistics.by_rows:
            unit = self._seconds_a_unit.get(lane.model)
            row_s = 0.0 if unit is None else unit * lane.width * lane.height
        else:
            row_s = min(measured.seconds / rows for rows, measured in lane_statistics.by_rows.items())
        return max(1, int(self._slice_s / row_s)) if row_s > 0 else self._max_rows

    def images_at_once(self, request: RenderRequest, plan: Plan) -> int:
        """Return the number of images of a request that are made together: limited by throughput and by memory."""
        # The bytes of a reproducible image must not depend on the batch size. Split guidance runs a single row at a time.
        if request.reproducible or plan.memory_savings.split_guidance:
            return 1
        worthwhile = self.best_rows(lane_of(request)) // request.rows_an_image
        return max(1, min(request.count, worthwhile, plan.room_nbytes // max(plan.step_nbytes, 1)))

    def least_seconds(self, request: RenderRequest) -> float | None:
        """Return the seconds of the device that a request takes at the best speed seen; None if that cannot be told.

        Only images of a quarter of its pixels or more count: a small image is mostly overhead, so that larger ones by its speed
        seem to take many times what they do.
        """
        pixels = request.width * request.height
        speeds = self._best_unit.get(request.assets.weights_of, {})
        units = [unit for measured, unit in speeds.items() if measured >= pixels * _SIMILAR]
        return min(units) * work_of(request) if units else None

    def seconds(self, request: RenderRequest) -> float | None:
        """Return the seconds of the device that a request will take, without loading; None before its model has made an image."""
        model, pixels = request.assets.weights_of, request.width * request.height
        unit = self._unit_by_size.get((model, pixels), self._seconds_a_unit.get(model))
        return None if unit is None else unit * work_of(request)

    def expected_s(self, request: RenderRequest) -> float:
        """Return the same; by a usual speed before the model of the request has made an image."""
        seconds = self.seconds(request)
        return _USUAL_UNIT_S * work_of(request) if seconds is None else seconds


def _averaged(known: float | None, unit: float) -> float:
    return unit if known is None else known + (unit - known) * _WEIGHT
