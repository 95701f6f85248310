"""LoKr: the Kronecker product of two factors (arXiv:2309.14859), applied without ever computing it."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d, linear

from .change import convolved_like


class KroneckerLinear:
    """`scale * (w1 kron w2) x`: the second factor acts on the parts of the input, the first one mixes the parts."""

    reads_unchanged = False

    def __init__(self, w1: Tensor, w2: Tensor, scale: float) -> None:
        """Take a x b and c x d, for a layer with b * d inputs and a * c outputs."""
        self._w1 = w1
        self._w2 = w2
        self._scale = scale

    def add(self, inputs: Tensor, outputs: Tensor, unchanged: Tensor) -> None:  # noqa: ARG002
        """Add it; see `Change`."""
        parts = linear(inputs.unflatten(-1, (self._w1.shape[1], -1)), self._w2)
        outputs.add_(torch.matmul(self._w1, parts).flatten(-2), alpha=self._scale)

    def weight(self) -> Tensor:
        """Compute outputs x inputs."""
        return self._scale * torch.kron(self._w1.float(), self._w2.float())


class KroneckerConvolution:
    """The same beside a convolution; the second factor has its kernel."""

    reads_unchanged = False

    def __init__(self, layer: nn.Module, w1: Tensor, w2: Tensor, scale: float) -> None:
        """Take a x b and c x d x height x width."""
        self._options: dict[str, Any] = convolved_like(layer)
        self._w1 = w1
        self._w2 = w2
        self._scale = scale

    def add(self, inputs: Tensor, outputs: Tensor, unchanged: Tensor) -> None:  # noqa: ARG002
        """Add it; see `Change`."""
        rows, mixed = len(inputs), self._w1.shape[1]
        parts = conv2d(inputs.unflatten(1, (mixed, -1)).flatten(0, 1), self._w2, **self._options)
        outputs.add_(
            torch.einsum("ab,nbchw->nachw", self._w1, parts.unflatten(0, (rows, mixed))).flatten(1, 2),
            alpha=self._scale,
        )

    def weight(self) -> Tensor:
        """Compute outputs x inputs x height x width of the kernel."""
        return self._scale * torch.kron(self._w1.float()[:, :, None, None], self._w2.float().contiguous())
