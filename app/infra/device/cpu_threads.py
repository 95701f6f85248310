"""Chooses the number of CPU threads that a request runs on."""

from ...domain.requests.request import GenerationRequest

_WORTH_IT = 10**11
"""Multiplications a step from which more than one thread is faster. Below it, threads wait for each other more than they work:
on two cores the demo model takes twice as long with both, and ten times as long if another program keeps one of them busy."""


def threads_for(work: int, available: int) -> int:
    """Return 1 for small work, all available threads for the rest.

    The number changes the order of sums, and so the image. For a request that runs alone it depends on the model and the
    request only, so that its image is the same on a busy server.

    Args:
        work: multiplications a step of all requests that run together; see `multiplications`.
        available: threads that torch would use.
    """
    return available if work >= _WORTH_IT else 1


def multiplications(request: GenerationRequest, weights: int, at_once: int, cell_px: int) -> int:
    """Estimate the multiplications of one denoising step of a request.

    Args:
        request: what to make.
        weights: numbers in the model's weights; each is used about once for every cell.
        at_once: number of its images that are denoised together.
        cell_px: see `FamilyRuntime.cell_px`.
    """
    rows = (2 if request.guided else 1) * min(at_once, len(request.seeds))
    cells = (request.width // cell_px) * (request.height // cell_px)
    return weights * cells * rows
