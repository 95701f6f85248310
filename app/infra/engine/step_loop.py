"""Takes requests through the engine a step at a time: they join, share, and leave between any two steps."""

import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from queue import Empty, SimpleQueue
from typing import Any

from ...domain.errors import DiffusionError
from ...domain.requests.render_request import RenderRequest
from ...domain.requests.rendering import (
    GiveWay,
    MemorySavings,
    OnPreview,
    OnStep,
    ParkedRun,
    RenderResult,
    StepTiming,
    stay,
)
from ..device.out_of_memory import without_frames
from ..device.peak_memory import Peak
from ..device.timer import Lap, Stopwatch
from .family import BatchedForward, FamilyRuntime, Run

_PREVIEW_EVERY_S = 0.25
"""Least time between two previews: people see no more pictures a second, and steps may be much shorter."""


@dataclass(slots=True, eq=False, kw_only=True)
class Work:
    """One request on the engine."""

    family: FamilyRuntime
    networks: Any
    weights: int
    """Numbers in the model's weights."""
    request: RenderRequest
    on_step: OnStep
    memory_savings: MemorySavings
    at_once: int
    dtype: str = ""
    """Dtype that the model computes in, as torch names it."""
    on_preview: OnPreview | None = None
    adapters: Sequence[Any] = ()
    """Networks of its adapters, in the order of the request's assets."""
    vae: Any = None
    """Network of the VAE that replaces the model's own."""
    give_way: GiveWay = stay
    result: "Future[RenderResult | ParkedRun]" = field(default_factory=lambda: Future[RenderResult | ParkedRun]())
    outcome: RenderResult | ParkedRun | DiffusionError | None = None
    """Its end, until it is reported at the end of the turn."""
    run: Run | None = None
    peak: Peak | None = None
    shared: bool = False
    """Whether another request was on the engine at the same time."""
    previewed_s: float = 0.0
    laps: list[tuple[int, Lap]] = field(default_factory=list[tuple[int, Lap]])
    """Rows of the batch, and the duration of the step."""

    def go_on_from(self, parked: ParkedRun) -> None:
        """Take over what an earlier work of the request has done."""
        earlier = parked.state
        assert isinstance(earlier, Work)
        self.run, self.laps, self.shared = earlier.run, earlier.laps, True


class Stepper:
    """The requests of one device. `add` may be called from any thread, everything else belongs to the engine's."""

    def __init__(
        self,
        *,
        stopwatch: Stopwatch,
        new_peak: Callable[[], Peak],
        set_threads: Callable[[Sequence[Work]], None],
        failure_of: Callable[[Exception], DiffusionError],
    ) -> None:
        """Make one without requests.

        Args:
            stopwatch: of the device.
            new_peak: begins to watch the device's memory.
            set_threads: chooses the CPU threads for the requests that run next.
            failure_of: makes an error of the domain from any failure, holding no tensor.
        """
        self._stopwatch = stopwatch
        self._new_peak = new_peak
        self._set_threads = set_threads
        self._failure_of = failure_of
        self._arriving: SimpleQueue[Work] = SimpleQueue()
        self._working: list[Work] = []
        self._over: list[Work] = []
        self._batched_forwards: dict[int, BatchedForward] = {}

    def add(self, work: Work) -> None:
        """Let a request join at the next step."""
        work.result.set_running_or_notify_cancel()
        self._arriving.put(work)

    def turn(self) -> bool:
        """Take one step: of the lane whose turn it is, all requests together. Returns whether any request is left."""
        self._advance()
        self._report_outcomes()
        return bool(self._working) or not self._arriving.empty()

    def abandon(self, failure: DiffusionError) -> None:
        """Fail every request."""
        self._admit_all(self._working.append)
        for work in self._working:
            if work.outcome is None:
                self._finish(work, failure)
        self._working.clear()
        self._batched_forwards.clear()
        self._report_outcomes()

    def _report_outcomes(self) -> None:
        """Report the outcomes of this turn, after its frames have let go of all tensors.

        A request that hears of a failure may be tried again at once, and then needs the memory.
        """
        over, self._over = self._over, []
        for work in over:
            if isinstance(work.outcome, (RenderResult, ParkedRun)):
                work.result.set_result(work.outcome)
            elif work.outcome is not None:
                work.result.set_exception(work.outcome)

    def _advance(self) -> None:
        self._admit()
        if self._working:
            mates = self._next_mates()
            if _run_of(mates[0]).decoding:
                self._decode(mates[0])
            else:
                self._step(mates)
            others = [work for work in self._working if work not in mates]
            self._working = others + [work for work in mates if work.outcome is None]
        if not self._working:
            self._batched_forwards.clear()

    def _next_mates(self) -> list[Work]:
        """Return those whose turn it is: one that decodes, or all of a lane that step."""
        first = _run_of(self._working[0])
        if first.decoding:
            return self._working[:1]
        return [work for work in self._working if _run_of(work).lane == first.lane and not _run_of(work).decoding]

    def _admit(self) -> None:
        self._admit_all(self._begin)

    def _admit_all(self, take: Callable[[Work], None]) -> None:
        while True:
            try:
                work = self._arriving.get_nowait()
            except Empty:
                return
            take(work)

    def _begin(self, work: Work) -> None:
        for other in self._working:
            other.shared = work.shared = True
        self._set_threads([work])
        work.peak = self._new_peak()
        fresh = work.run is None
        if not self._attempt(work, lambda: self._encode(work)):
            return
        if fresh and work.give_way():  # encoding a large picture takes as long as a step
            self._park(work)
        else:
            self._working.append(work)

    @staticmethod
    def _encode(work: Work) -> None:
        if work.run is None:
            work.run = work.family.begin(
                work.networks, work.request, work.memory_savings, work.at_once, work.adapters, work.vae
            )
        else:
            work.run.resume(work.networks, work.adapters, work.vae)
        work.on_step(work.run.done, work.run.total)

    def _step(self, mates: list[Work]) -> None:
        """Take one step with requests of one lane; one by one if all at once fail, so that a failure stays with its request."""
        self._set_threads(mates)
        failure = self._forward(mates)
        if failure is not None and len(mates) == 1:
            self._finish(mates[0], failure)
        elif failure is not None:
            for work in mates:
                if alone := self._forward([work]):
                    self._finish(work, alone)
        for work in mates:
            if work.outcome is None and self._attempt(work, lambda work=work: self._note_step(work)):
                # Before a decoding too: others wait for a step or a part of a decoding, not for both.
                if _run_of(work).decoding and not work.give_way():
                    self._attempt(work, _run_of(work).decode_next)
                self._end_turn(work)

    def _decode(self, work: Work) -> None:
        """Decode a part of one request's image."""
        self._set_threads([work])
        if self._attempt(work, lambda: self._note_step(work)):
            self._attempt(work, _run_of(work).decode_next)
            self._end_turn(work)

    def _end_turn(self, work: Work) -> None:
        """Complete a request that is finished, and take one that gives way off the device."""
        if work.outcome is None:
            self._complete(work)
        if work.outcome is None and work.give_way():
            self._park(work)

    def _forward(self, mates: list[Work]) -> DiffusionError | None:
        """Take the step; returns the failure of the whole batch, if it failed."""
        runs = {work.run: work for work in mates if work.run is not None}
        rows = sum(run.rows for run in runs)
        family = mates[0].family
        batched_forward = self._batched_forwards.setdefault(id(family), family.batched_forward())
        self._stopwatch.start()
        try:
            failed = batched_forward.step(list(runs))
        except Exception as error:
            batched_forward.forget()
            return self._failure_of(error)
        lap = self._stopwatch.stop()
        for work in mates:
            work.laps.append((rows, lap))
        for run, error in failed.items():
            self._finish(runs[run], self._failure_of(error))
        return None

    @staticmethod
    def _note_step(work: Work) -> None:
        assert work.run is not None
        ending = work.on_step(work.run.done, work.run.total)
        now = time.perf_counter()
        if work.on_preview is not None and now - work.previewed_s >= _PREVIEW_EVERY_S:
            work.previewed_s = now
            work.on_preview(work.run.preview(), work.run.done, work.run.total)
        if ending is not None:
            work.run.end_early(ending)

    def _attempt(self, work: Work, act: Callable[[], None]) -> bool:
        """Do what may fail for one request. Returns whether it succeeded."""
        try:
            act()
            return True
        except Exception as error:
            failure = self._failure_of(error)
        self._finish(work, failure)
        return False

    def _complete(self, work: Work) -> None:
        run = work.run
        if run is None or not run.finished:
            return
        step_timings = _paces(work.laps)
        observed = work.peak.nbytes() if work.peak is not None and not work.shared else None
        rendered = RenderResult(
            images=run.images,
            latents=run.latents,
            warnings=run.warnings,
            unfinished=run.unfinished,
            encode_s=run.encode_s,
            denoise_s=sum(timing.seconds for timing in step_timings),
            decode_s=run.decode_s,
            activation_nbytes=observed,
            step_timings=step_timings,
            dtype=work.dtype,
        )
        self._end(work, rendered)

    def _finish(self, work: Work, failure: DiffusionError) -> None:
        """Fail a request, after letting go of all that it holds."""
        for batched_forward in self._batched_forwards.values():
            batched_forward.forget()
        self._end(work, without_frames(failure))

    def _park(self, work: Work) -> None:
        """Take a request off the device; it keeps its latents and its samplers."""
        for batched_forward in self._batched_forwards.values():
            batched_forward.forget()
        if work.run is not None:
            work.run.park()
        work.outcome = ParkedRun(state=work)
        self._over.append(work)

    def _end(self, work: Work, outcome: RenderResult | DiffusionError) -> None:
        work.run = None
        work.outcome = outcome
        self._over.append(work)


def _run_of(work: Work) -> Run:
    assert work.run is not None
    return work.run


def _paces(laps: Sequence[tuple[int, Lap]]) -> tuple[StepTiming, ...]:
    """Sum the steps of a request by the rows of the batch."""
    seconds: dict[int, list[float]] = {}
    for rows, lap in laps:
        seconds.setdefault(rows, []).append(lap())
    return tuple(StepTiming(rows=rows, steps=len(taken), seconds=sum(taken)) for rows, taken in seconds.items())
