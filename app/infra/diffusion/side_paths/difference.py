"""A change given by the difference of the weight itself: LoHa (arXiv:2309.14859), full differences, biases, norms."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d, embedding, layer_norm

from .change import as_matrix, convolved_like

Compute = Callable[[], Tensor]


class Difference:
    """`scale * D x` with D in the shape of the layer's weight."""

    reads_unchanged = False

    def __init__(self, layer: nn.Module, compute: Compute, scale: float) -> None:
        """Take the function that returns D, in the dtype of the computation; it may keep D."""
        self._layer = layer
        self._compute = compute
        self._scale = scale

    def add(self, inputs: Tensor, outputs: Tensor, unchanged: Tensor) -> None:  # noqa: ARG002
        """Add it; see `Change`."""
        difference = self._compute()
        if isinstance(self._layer, nn.Linear):
            as_matrix(outputs).addmm_(inputs.reshape(-1, inputs.shape[-1]), difference.T, alpha=self._scale)
        elif isinstance(self._layer, nn.Conv2d):
            outputs.add_(conv2d(inputs, difference, **convolved_like(self._layer)), alpha=self._scale)
        else:
            outputs.add_(_other(self._layer, inputs, difference), alpha=self._scale)

    def weight(self) -> Tensor:
        """Compute the scaled difference."""
        return self._scale * self._compute().float()


class BiasDifference:
    """`scale * d` with a number for each output."""

    reads_unchanged = False

    def __init__(self, layer: nn.Module, bias: Tensor, scale: float) -> None:
        by_channel = isinstance(layer, nn.Conv2d | nn.GroupNorm)
        self._bias = bias.view(1, -1, 1, 1) if by_channel else bias
        self._scale = scale

    def add(self, inputs: Tensor, outputs: Tensor, unchanged: Tensor) -> None:  # noqa: ARG002
        """Add it; see `Change`."""
        bias = self._bias if self._bias.ndim == 1 or outputs.ndim == 4 else self._bias.view(1, -1, 1)
        outputs.add_(bias, alpha=self._scale)


def _other(layer: nn.Module, inputs: Tensor, difference: Tensor) -> Tensor:
    """Apply a difference of an embedding's table, or of a norm's scale."""
    given: Any = layer
    if isinstance(layer, nn.Embedding):
        return embedding(inputs, difference)
    if isinstance(layer, nn.LayerNorm):
        return layer_norm(inputs, given.normalized_shape, None, None, given.eps) * difference
    normal = torch.group_norm(inputs, given.num_groups, None, None, given.eps)
    return normal * difference.view(1, -1, *[1] * (inputs.ndim - 2))


def hadamard(w1_a: Tensor, w1_b: Tensor, w2_a: Tensor, w2_b: Tensor) -> Tensor:
    """Compute LoHa's difference, `(w1_a w1_b) * (w2_a w2_b)`, as a matrix."""
    return (w1_a @ w1_b) * (w2_a @ w2_b)


def unfolded(core: Tensor, left: Tensor, right: Tensor) -> Tensor:
    """Compute outputs x inputs x kernel from a Tucker core: rank x rank x kernel, rank x outputs, rank x inputs."""
    return torch.einsum("ijhw,jr,ip->prhw", core, right, left)
