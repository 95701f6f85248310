"""How many CPU threads a request runs on."""

from ..domain.generation import LATENT_SCALE, GenerationRequest

_WORTH_IT = 10**11
"""Multiplications a step from which more than one thread pays. Below, threads wait for each other more than they work: on two
cores the demo model takes twice as long with both, and ten times as long where another program keeps one of them busy."""


def threads_for(request: GenerationRequest, weights: int, available: int) -> int:
    """One for small work, all for the rest.

    It depends on nothing but the model and the request, so that an image is the same whatever else runs.

    Args:
        request: what to make.
        weights: numbers in the model's weights; each is used about once for every latent pixel.
        available: threads that torch would use.
    """
    rows = 2 if request.guided else 1
    latent_pixels = (request.width // LATENT_SCALE) * (request.height // LATENT_SCALE)
    return available if weights * latent_pixels * rows >= _WORTH_IT else 1
