"""Lanes: requests that can share one forward of the denoiser, and the rows of the batch that each takes."""

from dataclasses import dataclass

from ..models.assets import AssetSet
from ..requests.request import GenerationRequest


@dataclass(frozen=True, slots=True)
class Lane:
    """Requests with the same assets and latent size; their steps, guidance, samplers and seeds may differ."""

    assets: AssetSet
    width: int
    height: int


def lane_of(request: GenerationRequest) -> Lane:
    """Return the lane of a request."""
    return Lane(request.assets, request.width, request.height)


def rows_an_image(request: GenerationRequest) -> int:
    """Return the rows of the denoiser's batch that one image takes: two with guidance, one without."""
    return 2 if request.guided else 1


def work_of(request: GenerationRequest) -> int:
    """Return the size of a request, in pixels that the denoiser processes; its time is in proportion to it."""
    pixels = request.width * request.height
    return request.denoising_steps * len(request.seeds) * rows_an_image(request) * pixels
