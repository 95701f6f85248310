"""LoRA: the product of two factors (arXiv:2106.09685); convolutions may have a third between them (CP decomposition)."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d, linear

from .change import as_matrix, convolved_like


class LowRankLinear:
    """`scale * up(down(x))` beside a linear layer."""

    reads_unchanged = False

    def __init__(self, down: Tensor, up: Tensor, scale: float) -> None:
        """Take rank x inputs, outputs x rank."""
        self.down = down
        self.up = up
        self.scale = scale

    @property
    def nbytes(self) -> int:
        """Size of its factors."""
        return self.down.nbytes + self.up.nbytes

    def add(self, inputs: Tensor, outputs: Tensor, unchanged: Tensor) -> None:  # noqa: ARG002
        """Add it; see `Change`."""
        reduced = linear(inputs, self.down)
        as_matrix(outputs).addmm_(as_matrix(reduced), self.up.T, alpha=self.scale)

    def weight(self) -> Tensor:
        """Compute outputs x inputs."""
        return self.scale * (self.up.float() @ self.down.float())


class LowRankConvolution:
    """`scale * up(down(x))` beside a convolution: `down` has its kernel and stride, `up` has one pixel.

    With a middle factor `down` has one pixel, and the middle one the kernel.
    """

    reads_unchanged = False

    def __init__(self, layer: nn.Module, down: Tensor, up: Tensor, scale: float, mid: Tensor | None = None) -> None:
        self._options = convolved_like(layer)
        self.down = down
        self.mid = mid
        self.up = up
        self.scale = scale

    def add(self, inputs: Tensor, outputs: Tensor, unchanged: Tensor) -> None:  # noqa: ARG002
        """Add it; see `Change`."""
        if self.mid is None:
            reduced = conv2d(inputs, self.down, **self._options)
        else:
            reduced = conv2d(conv2d(inputs, self.down), self.mid, **self._options)
        outputs.add_(conv2d(reduced, self.up), alpha=self.scale)

    def weight(self) -> Tensor:
        """Compute outputs x inputs x height x width of the kernel."""
        down, up = self.down.float(), self.up.float().flatten(1)
        if self.mid is None:
            return self.scale * torch.einsum("or,rihw->oihw", up, down)
        return self.scale * torch.einsum("or,rshw,si->oihw", up, self.mid.float(), down.flatten(1))


def joined(changes: Sequence[LowRankLinear]) -> LowRankLinear:
    """Return one change that does what several do, with two products instead of two for each: ranks add up."""
    down = torch.cat([change.down for change in changes])
    # Scaled in float32: the copy is made in any case, and one scale for all is no longer possible.
    up = torch.cat([(change.up.float() * change.scale).to(change.up.dtype) for change in changes], dim=1)
    return LowRankLinear(down, up, 1.0)
