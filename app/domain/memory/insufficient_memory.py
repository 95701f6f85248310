"""Words the error that memory does not suffice: the bytes needed and available, and the size that would fit."""

from collections.abc import Callable, Collection, Sequence

from ..errors import InsufficientMemory
from ..models.assets import AssetKey
from ..requests.render_request import RenderRequest
from ..requests.request import GenerationRequest
from ..units import format_bytes
from .activation_estimate import Demand, largest_size
from .snapshot import PoolReport

_TRIED = {
    "drop_idle": "idle models had been dropped",
    "one_by_one": "the images were made one after the other",
    "tiled_decode": "the picture was decoded in tiles",
    "small_tiles": "the picture was enlarged in smaller tiles",
    "split_guidance": "the rows of guidance ran one after the other",
}


def insufficient_memory(
    demand: Demand,
    expected_nbytes: Callable[[RenderRequest], int],
    *,
    weights_nbytes: int,
    available_nbytes: int,
    savings: Sequence[str] = (),
    failed: bool = False,
) -> InsufficientMemory:
    """Make the error that ends a request which does not fit.

    Args:
        demand: the request.
        expected_nbytes: bytes that a request needs beside the weights with all savings.
        weights_nbytes: of the model.
        available_nbytes: for its weights and activations together.
        savings: memory fallbacks that were tried.
        failed: whether the device did run out; then more was needed than there was, although less was expected, and all
            sizes are judged by that.
    """
    room = available_nbytes - weights_nbytes
    expected = max(expected_nbytes(demand.request), 1)
    needed = max(expected, room + 1) if failed else expected
    size = largest_size(demand.request, lambda smaller: expected_nbytes(smaller) * needed / expected <= room)
    return InsufficientMemory(
        f"{_shortage(demand, weights_nbytes + expected, available_nbytes)}{_tried(savings)}. {_advice(size)}",
        needed_nbytes=weights_nbytes + needed,
        available_nbytes=available_nbytes,
        largest_size=size,
        savings=savings,
    )


def available_nbytes(
    report: PoolReport, limit_nbytes: int, own: Collection[AssetKey], *, idle_leave: bool = True
) -> int:
    """Compute the bytes that a budget leaves to one set of assets, its weights included.

    Args:
        report: snapshot of the pool.
        limit_nbytes: the device's budget.
        own: the assets; components that they share count as their own.
        idle_leave: whether assets in use are expected to leave once they are idle; otherwise they count like pinned ones.
    """
    keep = {key for key, status in report.assets if status.pinned or (status.leases and not idle_leave)} - set(own)
    kept = [
        part
        for part in report.components
        if part.residency == "device" and not set(own).intersection(part.owners) and keep.intersection(part.owners)
    ]
    return limit_nbytes - sum(part.nbytes for part in kept)


def _shortage(demand: Demand, expected: int, available: int) -> str:
    request = demand.request
    what = "an image" if isinstance(request, GenerationRequest) else "enlarging a picture"
    image = f"{what} of {request.width} x {request.height} with model {demand.spec.name!r}"
    if expected > available:
        return (
            f"Memory does not suffice for {image}: about {format_bytes(expected)} are needed, the model's weights included, and "
            f"{format_bytes(available)} are available"
        )
    return (
        f"The device ran out of memory on {image}, although about {format_bytes(expected)} should have been enough and "
        f"{format_bytes(available)} should have been there"
    )


def _tried(savings: Sequence[str]) -> str:
    return f", even after {' and '.join(_TRIED[saving] for saving in savings)}" if savings else ""


def _advice(size: tuple[int, int] | None) -> str:
    way_out = "raise memory.device in the settings, or free memory that other programs use."
    if size is None:
        return f"No smaller size would fit either: {way_out}"
    return f"The largest size of this shape that would fit is {size[0]} x {size[1]}: ask for that, or {way_out}"
