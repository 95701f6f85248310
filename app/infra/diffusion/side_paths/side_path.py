"""The side paths of a batch: while it runs, some layers compute what they always do, and the changes of some rows beside it."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from .change import Change

Changes = Mapping[nn.Module, Sequence[Change]]
"""The changes of each layer, by an adapter set."""
_FORWARD = "forward"


@dataclass(frozen=True, slots=True)
class SidePath:
    """What stands in for the `forward` of a layer."""

    layer: nn.Module
    changes: Sequence[tuple[slice, Sequence[Change]]]
    """Rows of the batch, and the changes that act on them."""

    def __call__(self, inputs: Tensor) -> Tensor:
        """Compute the layer, then the changes of each row."""
        outputs: Tensor = type(self.layer).forward(self.layer, inputs)
        return self.add(inputs, outputs)

    def add(self, inputs: Tensor, outputs: Tensor) -> Tensor:
        """Add the changes to the outputs of the layer, in place."""
        for rows, changes in self.changes:
            read, written = inputs[rows], outputs[rows]
            several = len(changes) > 1
            unchanged = written.clone() if several and any(change.reads_unchanged for change in changes) else written
            for change in changes:
                change.add(read, written, unchanged)
        return outputs


SidePaths = Sequence[SidePath]


def lay_side_paths(sets: Sequence[Changes | None]) -> SidePaths:
    """Lay the side paths of a batch.

    Args:
        sets: the changes of each row; the same object for rows of the same adapters, which lie side by side.
    """
    found: dict[nn.Module, list[tuple[slice, Sequence[Change]]]] = {}
    for rows, changes in _runs(sets):
        for layer, of_layer in changes.items():
            found.setdefault(layer, []).append((rows, of_layer))
    return [SidePath(layer, of_layer) for layer, of_layer in found.items()]


def _runs(sets: Sequence[Changes | None]) -> Iterator[tuple[slice, Changes]]:
    """Yield the runs of rows with the same changes, without those that have none."""
    begin = 0
    for end in range(1, len(sets) + 1):
        if end < len(sets) and sets[end] is sets[begin]:
            continue
        changes = sets[begin]
        if changes:
            yield slice(begin, end), changes
        begin = end


@contextmanager
def standing_in(paths: SidePaths) -> Iterator[None]:
    """Let side paths stand in for the `forward` of their layers; they are gone afterwards, also after a failure.

    An attribute of the instance hides the method of its class, so a network without side paths runs as if there were none. The
    layers belong to all models with equal weights, and only the engine's thread runs them.
    """
    try:
        for path in paths:
            path.layer.__dict__[_FORWARD] = path
        yield
    finally:
        for path in paths:
            path.layer.__dict__.pop(_FORWARD, None)


def side_path_of(layer: nn.Module) -> SidePath | None:
    """Return what stands in for a layer's `forward`, for code that reads the layer's weight instead of calling it."""
    found: Any = layer.__dict__.get(_FORWARD)
    return found
