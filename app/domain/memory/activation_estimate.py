"""Predicts the bytes that a request needs beside the weights, and finds the largest size that fits into a number of bytes."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from ..families.family import ImageShape
from ..families.registry import family_named
from ..models.spec import ModelSpec
from ..requests.render_request import RenderRequest
from ..requests.rendering import NO_SAVINGS, MemorySavings
from ..requests.request import GenerationRequest
from ..requests.upscaling.upscale_request import UpscaleRequest

SIZE_STEP_PX = 64
"""Sizes that are recommended to people are multiples of it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Demand:
    """A request, and the facts beside it that its bytes depend on."""

    spec: ModelSpec
    request: RenderRequest
    element_nbytes: int
    """Bytes of one number in the dtype that the model computes in, 2 or 4."""

    def predicted_nbytes(self, memory_savings: MemorySavings) -> int:
        """Peak bytes of activations, from shapes alone."""
        family = family_named(self.spec.traits.family)
        return family.activation_nbytes(self._shape(memory_savings), self.spec.networks)

    def predicted_step_nbytes(self, memory_savings: MemorySavings) -> int:
        """Estimate the activations of one step of one image in bytes, from shapes alone; images that share a step add up."""
        family = family_named(self.spec.traits.family)
        return family.step_nbytes(self._shape(memory_savings), self.spec.networks)

    def _shape(self, memory_savings: MemorySavings) -> ImageShape:
        request = self.request
        width, height = (
            (request.width, request.height) if isinstance(request, GenerationRequest) else request.largest_input
        )
        return ImageShape(
            width_px=width,
            height_px=height,
            rows=self.request.rows_an_image,
            element_nbytes=self.element_nbytes,
            tiled_decode=memory_savings.tiled_decode,
            small_tiles=memory_savings.small_tiles,
            split_guidance=memory_savings.split_guidance,
        )

    def savings_levels(self) -> Iterator[MemorySavings]:
        """List the combinations of savings that help the request, from none to all."""
        yield NO_SAVINGS
        if isinstance(self.request, UpscaleRequest):
            yield MemorySavings(small_tiles=True)
            return
        yield MemorySavings(tiled_decode=True)
        if self.request.rows_an_image > 1:
            yield MemorySavings(tiled_decode=True, split_guidance=True)


def largest_size(request: RenderRequest, fits: Callable[[RenderRequest], bool]) -> tuple[int, int] | None:
    """Find the largest size of the request's shape that fits and is no larger: multiples of 64, the shorter side rounded down.

    Args:
        request: whose shape is kept.
        fits: whether the request, resized, would fit. If a size does not fit, no larger one of the same shape does.

    Returns:
        Width and height in pixels; None if not even the smallest size fits.
    """
    longer = max(request.width, request.height)
    for side in range(longer // SIZE_STEP_PX * SIZE_STEP_PX, 0, -SIZE_STEP_PX):
        width, height = (max(_down(asked * side // longer), SIZE_STEP_PX) for asked in (request.width, request.height))
        if fits(replace(request, width=width, height=height)):
            return width, height
    return None


def _down(side_px: int) -> int:
    return side_px // SIZE_STEP_PX * SIZE_STEP_PX
