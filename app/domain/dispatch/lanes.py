"""Lanes: requests that can share one forward of the denoiser, and how much of the batch each takes."""

from dataclasses import dataclass

from ..models.assets import AssetSet
from ..requests.request import GenerationRequest


@dataclass(frozen=True, slots=True)
class Lane:
    """Same assets, same latent size. Steps, step counts, guidance, samplers and seeds may differ."""

    assets: AssetSet
    width: int
    height: int


def lane_of(request: GenerationRequest) -> Lane:
    """The lane of a request."""
    return Lane(request.assets, request.width, request.height)


def rows_an_image(request: GenerationRequest) -> int:
    """Rows of the denoiser's batch that one image takes: two with guidance, one without."""
    return 2 if request.guided else 1


def work_of(request: GenerationRequest) -> int:
    """The size of a request in pixels that go through the denoiser; requests of one model take time in proportion."""
    pixels = request.width * request.height
    return request.num_inference_steps * len(request.seeds) * rows_an_image(request) * pixels
