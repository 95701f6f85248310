"""Tells strangers that memory does not suffice: how much is needed, how much there is, and what would fit."""

from collections.abc import Callable, Sequence

from .errors import InsufficientMemory
from .generation import GenerationRequest
from .memory import Demand, largest_size, told
from .model import ModelName
from .pool_report import PoolReport

_TRIED = {
    "drop_idle": "idle models had been dropped",
    "tiled_decode": "the picture was decoded in tiles",
    "split_guidance": "the rows of guidance ran one after the other",
}


def insufficient_memory(
    demand: Demand,
    expected_nbytes: Callable[[GenerationRequest], int],
    *,
    weights_nbytes: int,
    available_nbytes: int,
    savings: Sequence[str] = (),
    failed: bool = False,
) -> InsufficientMemory:
    """The error that ends a request which does not fit.

    Args:
        demand: what was asked for.
        expected_nbytes: what a request needs beside the weights, at its most frugal.
        weights_nbytes: of the model.
        available_nbytes: for its weights and activations together.
        savings: what was tried, by the names of the ladder's rungs.
        failed: whether the device did run out; then more was needed than there was, whatever was expected, and all sizes
            are judged by that.
    """
    room = available_nbytes - weights_nbytes
    expected = max(expected_nbytes(demand.request), 1)
    needed = max(expected, room + 1) if failed else expected
    size = largest_size(demand.request, lambda smaller: expected_nbytes(smaller) * needed / expected <= room)
    return InsufficientMemory(
        _message(demand, weights_nbytes + needed, available_nbytes, size, savings),
        needed_nbytes=weights_nbytes + needed,
        available_nbytes=available_nbytes,
        largest_size=size,
        savings=savings,
    )


def available_nbytes(report: PoolReport, limit_nbytes: int, name: ModelName, *, idle_leave: bool = True) -> int:
    """What a budget leaves to one model, its weights included: all but what the others keep.

    Args:
        report: the pool's books.
        limit_nbytes: the device's budget.
        name: of the model; what it shares with others is its own here.
        idle_leave: whether models in use are expected to leave once they are idle; otherwise they count like pinned ones.
    """
    keep = {other for other, status in report.models if status.pinned or (status.leases and not idle_leave)} - {name}
    kept = [
        part
        for part in report.components
        if part.residency == "device" and name not in part.models and keep.intersection(part.models)
    ]
    return limit_nbytes - sum(part.nbytes for part in kept)


def _message(demand: Demand, needed: int, available: int, size: tuple[int, int] | None, savings: Sequence[str]) -> str:
    request = demand.request
    tried = f", even after {' and '.join(_TRIED[saving] for saving in savings)}" if savings else ""
    advice = (
        f"The largest size of this shape that would fit is {size[0]} x {size[1]}: ask for that, or raise memory.device in "
        "the settings, or free memory that other programs use."
        if size is not None
        else "No smaller size would fit either: raise memory.device in the settings, or free memory that other programs use."
    )
    return (
        f"An image of {request.width} x {request.height} with model {demand.spec.name!r} needs about {told(needed)} with the "
        f"model's weights, and {told(available)} are available{tried}. {advice}"
    )
