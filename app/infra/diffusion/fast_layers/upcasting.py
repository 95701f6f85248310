"""16-bit weights on a CPU that computes fastest in float32: the weights of each layer are converted just before their use.

A model takes half of the memory that it would take in float32, and its images are the same to the last bit: every float16 and
every bfloat16 is a float32. A step takes longer by one pass over the weights, for any size of the picture and number of rows:
7 % of the UNet's middle block for one row of 512 x 512 (benchmarks/cpu_variants.py).
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

COMPUTED = torch.float32


class Upcaster:
    """A buffer for the float32 weight of one layer, used for the next layer again: fresh pages would cost more than converting.

    Engine thread only; the layers of one engine share one.
    """

    def __init__(self) -> None:
        self._buffer = torch.empty(0, dtype=COMPUTED)

    def __call__(self, weight: Tensor) -> Tensor:
        """Return the weight in float32 with the same strides, valid until the next call."""
        if weight.dtype == COMPUTED:
            return weight
        if self._buffer.numel() < weight.numel():
            self._buffer = torch.empty(weight.numel(), dtype=COMPUTED)
        return self._buffer[: weight.numel()].as_strided(weight.shape, weight.stride()).copy_(weight)


class UpcastLinear(nn.Linear):
    """A linear layer whose weight is kept in fewer bits."""

    upcaster: Upcaster

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 - torch's name
        """Compute `nn.Linear` in float32."""
        return linear(input, self.upcaster(self.weight), self.bias)


class UpcastConv2d(nn.Conv2d):
    """A convolution whose weight is kept in fewer bits."""

    upcaster: Upcaster

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 - torch's name
        """Compute `nn.Conv2d` in float32."""
        return self._conv_forward(input, self.upcaster(self.weight), self.bias)


class UpcastEmbedding(nn.Embedding):
    """An embedding whose table is kept in fewer bits; the rows are converted, not the table."""

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 - torch's name
        """Look up rows of the table, and convert them to float32."""
        return super().forward(input).to(COMPUTED)


def computed_weight(layer: nn.Module) -> Tensor:
    """Return the weight of a layer in the dtype that it computes in, valid until another layer is used."""
    given: Any = layer
    upcaster: Upcaster | None = getattr(layer, "upcaster", None)
    return upcaster(given.weight) if upcaster else given.weight


def upcast_weights(network: nn.Module) -> frozenset[str]:
    """List the weights of a patched network that may be kept in 16 bits; all others, few and small, must be float32."""
    upcasting = (UpcastLinear, UpcastConv2d, UpcastEmbedding)
    return frozenset(f"{name}.weight" for name, layer in network.named_modules() if isinstance(layer, upcasting))
