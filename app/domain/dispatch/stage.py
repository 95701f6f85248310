"""Stages of a job: runs on the device that follow each other, each with a lease and a lane of its own.

Most jobs have one. A second pass at another size is a stage of its own, so that it shares steps with other requests of that size.
So is the work of an upscaler between two passes. No stage holds what another one waits for, so jobs cannot block each other.
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from ..memory.plan import Fallback
from ..models.spec import ModelSpec, Residency
from ..requests.render_request import RenderRequest
from ..requests.rendering import RenderResult
from ..requests.upscaling.upscale_request import UpscaleRequest

Complete = Callable[[RenderResult | None], Awaitable[RenderRequest]]
"""Makes the request of a stage from the result of the one before it, None for the first. Called when it holds its lease, so that
requests that wait hold no pixels."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """One run on the device."""

    outline: RenderRequest
    """Its request as far as it is known in advance: memory and time are planned by it, before the first stage begins."""
    complete: Complete

    @classmethod
    def of(cls, request: RenderRequest) -> "Stage":
        """Return a stage whose request is known."""

        async def complete(_before: RenderResult | None) -> RenderRequest:
            return request

        return cls(outline=request, complete=complete)


@dataclass(frozen=True, slots=True, kw_only=True)
class StageResult:
    """A stage that ran."""

    request: RenderRequest
    rendered: RenderResult
    savings: tuple[Fallback, ...]
    spec: ModelSpec
    """Entry of the model that it ran with."""
    found: Residency
    queue_s: float
    load_s: float


def joined_rendering(stages: Sequence[StageResult]) -> RenderResult:
    """Combine stages to one result: the images of the last one; seconds add up, without those of upscalers."""
    if len(stages) == 1:
        return stages[0].rendered
    passes = [stage.rendered for stage in stages if not isinstance(stage.request, UpscaleRequest)]
    warnings = dict.fromkeys(warning for stage in stages for warning in stage.rendered.warnings)
    return RenderResult(
        images=stages[-1].rendered.images,
        warnings=tuple(warnings),
        encode_s=sum(rendered.encode_s for rendered in passes),
        denoise_s=sum(rendered.denoise_s for rendered in passes),
        decode_s=sum(rendered.decode_s for rendered in passes),
        step_timings=tuple(timing for rendered in passes for timing in rendered.step_timings),
        unfinished=frozenset[int]().union(*(rendered.unfinished for rendered in passes)),
        dtype=stages[-1].rendered.dtype,
    )


def upscaling_s(stages: Sequence[StageResult]) -> float:
    """Add up the seconds that upscalers took."""
    return sum(stage.rendered.denoise_s for stage in stages if isinstance(stage.request, UpscaleRequest))
