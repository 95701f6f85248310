"""Lanes: requests that can share one forward of the denoiser."""

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


def work_of(request: GenerationRequest) -> int:
    """Return the size of a request, in pixels that the denoiser processes; its time is in proportion to it."""
    pixels = request.width * request.height
    return request.denoising_steps * len(request.seeds) * request.rows_an_image * pixels
