"""What a change of a layer is to the rows that it acts on."""

from typing import Any, Protocol

from torch import Tensor, nn


class Change(Protocol):
    """The change of one layer for some rows. Engine thread only."""

    reads_unchanged: bool
    """Whether `add` reads what the layer alone computed."""

    def add(self, inputs: Tensor, outputs: Tensor, unchanged: Tensor) -> None:
        """Add what it makes of the layer's inputs to the layer's outputs, in place.

        Args:
            inputs: of the layer, for these rows.
            outputs: of the layer and of the changes before this one.
            unchanged: of the layer alone, if `reads_unchanged`; may be `outputs` itself, so it is read before they are written.
        """
        ...


class WeightChange(Change, Protocol):
    """A change that is a difference of the layer's weight."""

    def weight(self) -> Tensor:
        """Compute the change of the weight, in the weight's shape and in float32."""
        ...


def convolved_like(layer: nn.Module) -> dict[str, Any]:
    """Return the options of a convolution that a change's own convolution must share."""
    given: Any = layer
    return {"stride": given.stride, "padding": given.padding, "dilation": given.dilation}


def as_matrix(tensor: Tensor) -> Tensor:
    """Return positions x width as a view, so that what is added to it is added to the tensor."""
    return tensor.view(-1, tensor.shape[-1])
