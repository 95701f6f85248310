"""16-bit weights on a CPU that computes fastest in float32: each layer's are widened just before they are used.

A model takes half of the memory that it would take in float32, and its images are the same to the last bit: every float16 and
every bfloat16 is a float32. A step is longer by the time of one pass over the weights, whatever the size of the picture and the
number of rows; 7 % of the UNet's middle block for one row of 512 x 512 (benchmarks/cpu_variants.py).
"""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

COMPUTED = torch.float32


class Widener:
    """Has room for the weight of one layer, and uses it for the next layer again: fresh pages would cost more than widening.

    Engine thread only; the layers of one engine share one.
    """

    def __init__(self) -> None:
        self._room = torch.empty(0, dtype=COMPUTED)

    def __call__(self, weight: Tensor) -> Tensor:
        """The weight in float32, in the layout that it has; valid until the next call."""
        if weight.dtype == COMPUTED:
            return weight
        if self._room.numel() < weight.numel():
            self._room = torch.empty(weight.numel(), dtype=COMPUTED)
        return self._room[: weight.numel()].as_strided(weight.shape, weight.stride()).copy_(weight)


class _WideLinear(nn.Linear):
    widener: Widener

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 - torch's name
        return linear(input, self.widener(self.weight), self.bias)


class _WideConv2d(nn.Conv2d):
    widener: Widener

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 - torch's name
        return self._conv_forward(input, self.widener(self.weight), self.bias)


class _WideEmbedding(nn.Embedding):
    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 - torch's name
        return super().forward(input).to(COMPUTED)


def widened_weight(layer: nn.Module) -> Tensor:
    """The weight of a layer in the dtype that it computes in; valid until the next layer is used."""
    given: Any = layer
    widener: Widener | None = getattr(layer, "widener", None)
    return widener(given.weight) if widener else given.weight


_WIDE: dict[type[nn.Module], type[nn.Module]] = {
    nn.Linear: _WideLinear,
    nn.Conv2d: _WideConv2d,
    nn.Embedding: _WideEmbedding,
}


def widened(network: nn.Module, widener: Widener) -> frozenset[str]:
    """Have the layers of a network widen their weights.

    Returns:
        The names of the weights that may be kept in 16 bits; all others, few and small, are wanted in float32.
    """
    return frozenset(_widen_layers(network, widener))


def _widen_layers(network: nn.Module, widener: Widener) -> Iterator[str]:
    for name, layer in network.named_modules():
        wide = _WIDE.get(type(layer))
        if wide is not None:
            changed: Any = layer
            changed.__class__ = wide
            changed.widener = widener
            yield f"{name}.weight"
