"""Lanes: requests that can share one forward of the denoiser."""

from dataclasses import dataclass

from ..models.spec import ModelName
from ..requests.render_request import RenderRequest
from ..requests.upscaling.upscale_request import UpscaleRequest


@dataclass(frozen=True, slots=True)
class Lane:
    """Requests with the same weights and latent size; their steps, guidance, samplers, seeds and adapters may differ.

    Adapters act beside the weights on the rows of their own request, and a VAE before the first and after the last step. A preset
    is nothing but adapters, a VAE and defaults, so its requests are in the lane of its base.
    """

    model: ModelName
    """Model whose weights run; the base of a preset."""
    width: int
    height: int


def lane_of(request: RenderRequest) -> Lane:
    """Return the lane of a request."""
    return Lane(request.assets.weights_of, request.width, request.height)


def steps_of(request: RenderRequest) -> int:
    """Return the steps that a request is expected to take; some samplers take more."""
    return request.steps if isinstance(request, UpscaleRequest) else request.denoising_steps * request.count


def work_of(request: RenderRequest) -> int:
    """Return the size of a request, in pixels that the denoiser processes; the time of equal sizes is in proportion to it."""
    if isinstance(request, UpscaleRequest):
        return request.work_pixels
    pixels = request.width * request.height
    return request.denoising_steps * request.count * request.rows_an_image * pixels
