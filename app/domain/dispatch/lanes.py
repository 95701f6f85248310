"""Lanes: requests that can share one forward of the denoiser, and the rows of the batch that each takes."""

from dataclasses import dataclass

from ..models.spec import ModelName
from ..requests.request import GenerationRequest


@dataclass(frozen=True, slots=True)
class Lane:
    """Requests with the same model and latent size; their steps, guidance, samplers, seeds and adapters may differ.

    Adapters act beside the model's weights on the rows of their own request, and a VAE before the first and after the last step.
    """

    model: ModelName
    width: int
    height: int


def lane_of(request: GenerationRequest) -> Lane:
    """Return the lane of a request."""
    return Lane(request.model, request.width, request.height)


def rows_an_image(request: GenerationRequest) -> int:
    """Return the rows of the denoiser's batch that one image takes: two with guidance, one without."""
    return 2 if request.guided else 1


def work_of(request: GenerationRequest) -> int:
    """Return the size of a request, in pixels that the denoiser processes; its time is in proportion to it."""
    pixels = request.width * request.height
    return request.denoising_steps * len(request.seeds) * rows_an_image(request) * pixels
