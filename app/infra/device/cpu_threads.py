"""Chooses the number of CPU threads that a request runs on."""

import math
import os
from pathlib import Path

from ...domain.requests.render_request import RenderRequest
from .cgroups import cpu_limit

_WORTH_IT = 10**11
"""Multiplications a step from which more than one thread is faster. Below it, threads wait for each other more than they work:
on two cores the demo model takes twice as long with both, and ten times as long if another program keeps one of them busy."""


def usable_cpus(root: Path = Path("/")) -> int:
    """Return the number of CPUs that the process may use: those that it is bound to, or the container's quota if that is less.

    Args:
        root: of the file system; for tests.
    """
    # macOS binds no process to CPUs, and has no such call.
    bound = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    limit = cpu_limit(root)
    return bound if limit is None else max(1, min(bound, math.ceil(limit)))


def threads_for(work: int, available: int) -> int:
    """Return 1 for small work, all available threads for the rest.

    The number changes the order of sums, and so the image. For a request that runs alone it depends on the model and the
    request only, so that its image is the same on a busy server.

    Args:
        work: multiplications a step of all requests that run together; see `multiplications`.
        available: threads that torch would use.
    """
    return available if work >= _WORTH_IT else 1


def multiplications(request: RenderRequest, weights: int, at_once: int, cell_px: int) -> int:
    """Estimate the multiplications of one denoising step of a request.

    Args:
        request: what to make.
        weights: numbers in the model's weights; each is used about once for every cell.
        at_once: number of its images that are denoised together.
        cell_px: see `FamilyRuntime.cell_px`.
    """
    rows = request.rows_an_image * min(at_once, request.count)
    cells = (request.width // cell_px) * (request.height // cell_px)
    return weights * cells * rows
