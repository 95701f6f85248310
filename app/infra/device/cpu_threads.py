"""How many CPU threads a request runs on."""

from ...domain.families.latents import LATENT_SCALE
from ...domain.requests.request import GenerationRequest

_WORTH_IT = 10**11
"""Multiplications a step from which more than one thread pays. Below, threads wait for each other more than they work: on two
cores the demo model takes twice as long with both, and ten times as long where another program keeps one of them busy."""


def threads_for(work: int, available: int) -> int:
    """One for small work, all for the rest.

    For a request alone it depends on nothing but the model and the request, so that its image is the same beside any other work.

    Args:
        work: multiplications a step, of all that runs together; see `multiplications`.
        available: threads that torch would use.
    """
    return available if work >= _WORTH_IT else 1


def multiplications(request: GenerationRequest, weights: int, at_once: int) -> int:
    """Multiplications a step of a request.

    Args:
        request: what to make.
        weights: numbers in the model's weights; each is used about once for every latent pixel.
        at_once: how many of its images are made together.
    """
    rows = (2 if request.guided else 1) * min(at_once, len(request.seeds))
    latent_pixels = (request.width // LATENT_SCALE) * (request.height // LATENT_SCALE)
    return weights * latent_pixels * rows
