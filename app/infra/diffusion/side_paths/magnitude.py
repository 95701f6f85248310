"""DoRA: the changed weight is scaled to a learnt length of each of its rows (arXiv:2402.09353, equation 5)."""

from typing import Any

from torch import Tensor, nn

from ..fast_layers.upcasting import computed_weight
from .change import WeightChange


class OutputMagnitude:
    """`m * (W + D) x / |W + D|`, with a length for each output; biases stay as they are.

    The length is that of PEFT: of the weight and this change alone, scaled as strongly as the change acts.
    """

    reads_unchanged = True

    def __init__(self, layer: nn.Module, change: WeightChange, magnitude: Tensor) -> None:
        """Compute the lengths once: a pass over the layer's weight."""
        changed = computed_weight(layer).float() + change.weight()
        factor = magnitude.float().flatten() / changed.flatten(1).norm(dim=1)
        bias: Any = layer.bias
        shape = (1, -1, 1, 1) if isinstance(layer, nn.Conv2d) else (-1,)
        self._change = change
        self._factor = factor.view(shape)
        self._bias = None if bias is None else bias.view(shape)

    def add(self, inputs: Tensor, outputs: Tensor, unchanged: Tensor) -> None:
        """Add it; see `Change`."""
        base = unchanged.clone() if self._bias is None else unchanged - self._bias
        scaled = base.clone()
        self._change.add(inputs, scaled, scaled)
        outputs.add_(scaled.mul_(self._factor.to(scaled.dtype)).sub_(base))


class InputMagnitude:
    """The same with a length for each input, as LyCORIS trains it with `wd_on_out` off: `(W + D)(m x / |W + D|)`."""

    reads_unchanged = True

    def __init__(self, layer: nn.Module, change: WeightChange, magnitude: Tensor) -> None:
        """Compute the lengths once: a pass over the layer's weight."""
        changed = computed_weight(layer).float() + change.weight()
        factor = magnitude.float().flatten() / changed.transpose(0, 1).flatten(1).norm(dim=1)
        self._layer: Any = layer
        self._change = change
        self._factor = factor.view((1, -1, 1, 1) if isinstance(layer, nn.Conv2d) else (-1,))

    def add(self, inputs: Tensor, outputs: Tensor, unchanged: Tensor) -> None:
        """Add it; see `Change`."""
        scaled = inputs * self._factor.to(inputs.dtype)
        difference = type(self._layer).forward(self._layer, scaled).sub_(unchanged)
        self._change.add(scaled, difference, difference)
        outputs.add_(difference)
