"""The ladder that a request climbs when memory runs out: each rung saves some, and costs something else.

    drop_idle        frees the device copies of models that nobody uses; they have to come back later
    one_by_one       makes the images of a request one after the other: slower where making them together paid
    tiled_decode     decodes the picture in tiles: slower, and the picture changes a little
    split_guidance   runs the two rows of guidance one after the other: slower

A rung that cannot help the stage that failed is passed over. After each rung the request starts again from its seeds, so
it makes the same image. Past the last rung the answer is InsufficientMemory, with the largest size that would fit.
"""

from collections.abc import Callable, Coroutine
from dataclasses import dataclass, replace
from typing import Any

from ..engine import Engine
from ..errors import InsufficientMemory, OutOfMemory
from ..memory.activation_calibration import ActivationCalibration
from ..memory.activation_estimate import Demand
from ..memory.insufficient_memory import available_nbytes, insufficient_memory
from ..memory.plan import Fallback, Plan, saved
from ..memory.pool import Lease, ModelPool
from ..models.spec import ModelSpec
from ..requests.rendering import NO_SAVINGS, MemorySavings, OnPreview, OnStep, RenderResult
from ..requests.request import GenerationRequest


@dataclass(frozen=True, slots=True, kw_only=True)
class FallbackResult:
    """A request that ran, and the rungs that it took, in order."""

    rendered: RenderResult
    savings: tuple[Fallback, ...]


class MemoryFallbacks:
    """Runs requests on one engine within the memory that there is, and learns what they need. Event loop only."""

    def __init__(self, pool: ModelPool, engine: Engine, calibration: ActivationCalibration | None = None) -> None:
        self._pool = pool
        self._engine = engine
        self._calibration = calibration or ActivationCalibration()

    def plan(self, spec: ModelSpec, request: GenerationRequest) -> Plan:
        """The least frugal way that fits into the budget beside the weights. Call after the engine has started.

        Raises:
            InsufficientMemory: none does.
        """
        demand = self._demand(spec, request)
        weights = self._engine.weights_nbytes(spec)
        available = available_nbytes(self._pool.report(), self._limit_nbytes(), spec.name)
        room = available - weights
        memory_savings = NO_SAVINGS
        for memory_savings in demand.savings_levels():
            if (nbytes := self._calibration.safe_nbytes(demand, memory_savings)) <= room:
                step = self._calibration.safe_step_nbytes(demand, memory_savings)
                return Plan(
                    memory_savings=memory_savings,
                    activation_nbytes=nbytes,
                    step_nbytes=min(step, nbytes),
                    room_nbytes=room,
                )
        if self._calibration.expected_nbytes(demand, memory_savings) <= room:
            return Plan(memory_savings=memory_savings, activation_nbytes=room, step_nbytes=room, room_nbytes=room)
        raise self._shortage(demand, weights, available)

    async def run(
        self,
        lease: Lease,
        request: GenerationRequest,
        on_step: OnStep,
        *,
        begin: MemorySavings = NO_SAVINGS,
        at_once: int = 1,
        check: Callable[[], None] = lambda: None,
        on_preview: OnPreview | None = None,
    ) -> FallbackResult:
        """Make the images of a request, saving as much memory as it takes.

        Args:
            lease: of the model.
            request: what to make.
            on_step: as for `Engine.generate`; begins anew after each rung.
            begin: what is saved from the start.
            at_once: how many of the images are made together.
            check: raises if nobody waits for the result any more; called before each rung.
            on_preview: as for `Engine.generate`.

        Raises:
            InsufficientMemory: all that helps has been tried.
            DiffusionError: as `Engine.generate` does.
        """
        demand, memory_savings = self._demand(lease.spec, request), begin
        engine, model = self._engine, lease.model
        savings: tuple[Fallback, ...] = saved(begin)
        while True:
            outcome = await _attempt(engine.generate(model, request, on_step, memory_savings, at_once, on_preview))
            if isinstance(outcome, RenderResult):
                self._calibration.succeeded(demand, memory_savings, outcome.activation_nbytes)
                return FallbackResult(rendered=outcome, savings=savings)
            self._calibration.failed(demand)
            check()
            fallback = await self._next(outcome.stage, request, savings, at_once)
            if fallback is None:
                raise self._gave_up(demand, lease, outcome, savings)
            savings += (fallback,)
            memory_savings = _with(memory_savings, fallback)
            at_once = 1 if fallback == "one_by_one" else at_once

    async def _next(
        self, stage: str, request: GenerationRequest, taken: tuple[Fallback, ...], at_once: int
    ) -> Fallback | None:
        """The first rung that has not been taken and can help the stage that failed."""
        if "drop_idle" not in taken and await self._pool.drop_idle():
            return "drop_idle"
        if stage == "denoise" and at_once > 1:
            return "one_by_one"
        if stage == "decode" and "tiled_decode" not in taken:
            return "tiled_decode"
        if stage == "denoise" and request.guided and "split_guidance" not in taken:
            return "split_guidance"
        return None

    def _gave_up(
        self, demand: Demand, lease: Lease, failure: OutOfMemory, savings: tuple[Fallback, ...]
    ) -> InsufficientMemory:
        weights = sum({part.id: part.nbytes for part in lease.model.components}.values())
        available = available_nbytes(self._pool.report(), self._limit_nbytes(), lease.spec.name, idle_leave=False)
        if failure.free_nbytes is not None:
            available = min(available, weights + failure.free_nbytes)
        return self._shortage(demand, weights, available, savings=savings, failed=True)

    def _shortage(
        self, demand: Demand, weights: int, available: int, *, savings: tuple[Fallback, ...] = (), failed: bool = False
    ) -> InsufficientMemory:
        *_, most_saving = demand.savings_levels()
        return insufficient_memory(
            demand,
            lambda resized: self._calibration.expected_nbytes(replace(demand, request=resized), most_saving),
            weights_nbytes=weights,
            available_nbytes=available,
            savings=savings,
            failed=failed,
        )

    def _demand(self, spec: ModelSpec, request: GenerationRequest) -> Demand:
        return Demand(spec=spec, request=request, element_nbytes=self._engine.element_nbytes(spec))

    def _limit_nbytes(self) -> int:
        """The device's budget; all of its memory where there is none."""
        budget = self._pool.report().budget
        limits = [budget.device_nbytes, budget.host_nbytes if self._engine.shares_host_memory else None]
        return min((limit for limit in limits if limit is not None), default=self._engine.memory_nbytes())


async def _attempt(work: Coroutine[Any, Any, RenderResult]) -> RenderResult | OutOfMemory:
    """The failure is returned, so that what follows runs outside the handler, where no traceback keeps anything alive."""
    try:
        return await work
    except OutOfMemory as failure:
        return failure.with_traceback(None)


def _with(memory_savings: MemorySavings, fallback: Fallback) -> MemorySavings:
    match fallback:
        case "drop_idle" | "one_by_one":
            return memory_savings
        case "tiled_decode":
            return replace(memory_savings, tiled_decode=True)
        case "split_guidance":
            return replace(memory_savings, split_guidance=True)
