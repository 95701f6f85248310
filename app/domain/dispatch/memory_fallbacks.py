"""Memory fallbacks: what a request gives up, one after the other, when the device runs out of memory.

    drop_idle        frees the device copies of models that no request uses; they must be brought back later
    one_by_one       makes the images of a request one after the other: slower, if making them together was faster
    tiled_decode     decodes the image, and encodes the picture that it begins from, in tiles: slower, and it changes the image
                     a little
    small_tiles      enlarges a picture in smaller tiles: slower, and it changes the picture a little
    split_guidance   runs the rows of guidance one after the other: slower

A fallback that cannot help the stage that failed is skipped. After each fallback the request starts again from its seeds, so
it makes the same image. After the last one it fails with InsufficientMemory, which names the largest size that would fit.
"""

from collections.abc import Callable, Coroutine, Iterator
from dataclasses import dataclass, replace
from typing import Any

from ..engine import Engine
from ..errors import InsufficientMemory, OutOfMemory
from ..memory.activation_calibration import ActivationCalibration
from ..memory.activation_estimate import Demand
from ..memory.insufficient_memory import available_nbytes, insufficient_memory
from ..memory.lease import Lease
from ..memory.plan import Fallback, Plan, saved
from ..memory.pool import DevicePool
from ..models.assets import AssetKey
from ..models.spec import ModelSpec
from ..requests.render_request import RenderRequest
from ..requests.rendering import (
    NO_SAVINGS,
    GiveWay,
    MemorySavings,
    OnPreview,
    OnStep,
    ParkedRun,
    RenderResult,
    stay,
)
from ..requests.request import GenerationRequest


@dataclass(frozen=True, slots=True, kw_only=True)
class FallbackResult:
    """A request that ran, and the fallbacks that it needed, in order."""

    rendered: RenderResult
    savings: tuple[Fallback, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """How a request runs: the savings that it begins with or has come to, and what it has done if it gave way."""

    memory_savings: MemorySavings = NO_SAVINGS
    at_once: int = 1
    """Images that are made together."""
    savings: tuple[Fallback, ...] = ()
    """Fallbacks that were needed so far."""
    parked: ParkedRun | None = None

    @classmethod
    def of(cls, plan: Plan, at_once: int = 1) -> "Attempt":
        """Begin as a plan says."""
        return cls(memory_savings=plan.memory_savings, at_once=at_once, savings=saved(plan.memory_savings))

    def after(self, fallback: Fallback) -> "Attempt":
        """Begin again from the seeds with one more fallback."""
        return Attempt(
            memory_savings=_with(self.memory_savings, fallback),
            at_once=1 if fallback == "one_by_one" else self.at_once,
            savings=(*self.savings, fallback),
        )


_FIRST = Attempt()


class MemoryFallbacks:
    """Runs requests on one engine within the memory budget, and learns how much memory they need. Event loop only."""

    def __init__(
        self,
        pool: DevicePool,
        engine: Engine,
        calibration: ActivationCalibration | None = None,
        *,
        whole_decode_px: int | None = None,
    ) -> None:
        """Learn from nothing yet.

        Args:
            pool: the models.
            engine: runs the requests.
            calibration: what was learned of the memory of requests.
            whole_decode_px: pixels of the largest image that a CPU decodes in one piece; None for no limit.
        """
        self._pool = pool
        self._engine = engine
        self._whole_decode_px = whole_decode_px
        self._calibration = calibration or ActivationCalibration()

    def plan(self, spec: ModelSpec, request: RenderRequest) -> Plan:
        """Plan the fewest memory savings with which a request fits into the budget beside the weights.

        Call it after the engine has started.

        Raises:
            InsufficientMemory: it does not fit with all savings.
        """
        demand = self._demand(spec, request)
        beside = request.assets.beside
        weights = self._engine.loader.weights_nbytes(spec) + sum(map(self._pool.expected_nbytes, beside))
        available = available_nbytes(self._pool.report(), self._limit_nbytes(), (AssetKey("model", spec.name), *beside))
        room = available - weights
        memory_savings = NO_SAVINGS
        for memory_savings in self._levels(demand):
            if (nbytes := self._calibration.safe_nbytes(demand, memory_savings)) <= room:
                step = self._calibration.safe_step_nbytes(demand, memory_savings)
                return Plan(
                    memory_savings=memory_savings,
                    activation_nbytes=nbytes,
                    step_nbytes=min(step, nbytes),
                    room_nbytes=room,
                )
        # The last chance: it fits by the expected bytes, without the safety margin, so it gets all the memory that is left.
        if self._calibration.expected_nbytes(demand, memory_savings) <= room:
            return Plan(memory_savings=memory_savings, activation_nbytes=room, step_nbytes=room, room_nbytes=room)
        raise self._shortage(demand, weights, available)

    def _levels(self, demand: Demand) -> Iterator[MemorySavings]:
        """List the combinations of savings that a request may begin with.

        On a CPU the decoder's attention is most of the time of a large image, and the device gives way only between tiles.
        """
        tiled_only = self._engine.device.shares_host_memory and self._decodes_long(demand.request)
        return (level for level in demand.savings_levels() if level.tiled_decode or not tiled_only)

    def _decodes_long(self, request: RenderRequest) -> bool:
        if self._whole_decode_px is None or not isinstance(request, GenerationRequest) or request.becomes == "latents":
            return False
        return request.width * request.height > self._whole_decode_px

    async def run(
        self,
        lease: Lease,
        request: RenderRequest,
        on_step: OnStep,
        *,
        attempt: Attempt = _FIRST,
        check: Callable[[], None] = lambda: None,
        on_preview: OnPreview | None = None,
        give_way: GiveWay = stay,
    ) -> FallbackResult | Attempt:
        """Make the images of a request, with as many fallbacks as it needs.

        Args:
            lease: lease of the model.
            request: what to make.
            on_step: as for `Renderer.generate`; counts from 0 again after each fallback.
            attempt: how to begin, or what an earlier call returned when the request gave way.
            check: raises if the job was stopped; called before each fallback.
            on_preview: as for `Renderer.generate`.
            give_way: as for `Renderer.generate`.

        Returns:
            The images; the attempt to go on with if the request gave way.

        Raises:
            InsufficientMemory: all fallbacks that can help were tried.
            DiffusionError: as `Renderer.generate` does.
        """
        demand = self._demand(lease.spec, request)
        while True:
            outcome = await _tried(
                self._engine.renderer.generate(
                    lease.model,
                    request,
                    on_step,
                    attempt.memory_savings,
                    attempt.at_once,
                    on_preview,
                    adapters=lease.adapters,
                    vae=lease.vae,
                    give_way=give_way,
                    parked=attempt.parked,
                )
            )
            if isinstance(outcome, RenderResult):
                self._calibration.succeeded(demand, attempt.memory_savings, outcome.activation_nbytes)
                return FallbackResult(rendered=outcome, savings=attempt.savings)
            if isinstance(outcome, ParkedRun):
                return replace(attempt, parked=outcome)
            self._calibration.failed(demand)
            check()
            fallback = await self._next(outcome.stage, request, attempt)
            if fallback is None:
                raise self._gave_up(demand, lease, outcome, attempt.savings)
            attempt = attempt.after(fallback)

    async def _next(self, stage: str, request: RenderRequest, attempt: Attempt) -> Fallback | None:
        """Return the first fallback that was not taken yet and can help the stage that failed; None if there is none."""
        taken = attempt.savings
        if "drop_idle" not in taken and await self._pool.drop_idle():
            return "drop_idle"
        if stage == "denoise" and attempt.at_once > 1:
            return "one_by_one"
        if stage in ("encode_image", "decode") and "tiled_decode" not in taken:
            return "tiled_decode"
        if stage == "upscale" and "small_tiles" not in taken:
            return "small_tiles"
        if stage == "denoise" and request.rows_an_image > 1 and "split_guidance" not in taken:
            return "split_guidance"
        return None

    def _gave_up(
        self, demand: Demand, lease: Lease, failure: OutOfMemory, savings: tuple[Fallback, ...]
    ) -> InsufficientMemory:
        weights = lease.nbytes
        available = available_nbytes(self._pool.report(), self._limit_nbytes(), lease.keys, idle_leave=False)
        # The device may have less than the budget: other processes use it too.
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

    def _demand(self, spec: ModelSpec, request: RenderRequest) -> Demand:
        return Demand(spec=spec, request=request, element_nbytes=self._engine.device.element_nbytes(spec))

    def _limit_nbytes(self) -> int:
        """Return the device's budget in bytes; all of its memory if there is no budget."""
        budget = self._pool.report().budget
        limits = [budget.device_nbytes, budget.host_nbytes if self._engine.device.shares_host_memory else None]
        return min((limit for limit in limits if limit is not None), default=self._engine.device.memory_nbytes())


async def _tried(work: Coroutine[Any, Any, RenderResult | ParkedRun]) -> RenderResult | ParkedRun | OutOfMemory:
    """Return the outcome or the failure.

    The failure is returned, not raised, because its traceback would keep the tensors of the attempt alive in the handler.
    """
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
        case "small_tiles":
            return replace(memory_savings, small_tiles=True)
        case "split_guidance":
            return replace(memory_savings, split_guidance=True)
