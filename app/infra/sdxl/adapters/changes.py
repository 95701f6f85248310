"""Builds the changes of a layer from an adapter's factors."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from ....domain.families.sdxl.adapter_files.algorithms import MAGNITUDES
from ....domain.families.sdxl.adapter_files.layers import Layer
from ...diffusion.side_paths.change import Change, WeightChange
from ...diffusion.side_paths.difference import BiasDifference, Difference, hadamard, unfolded
from ...diffusion.side_paths.kronecker import KroneckerConvolution, KroneckerLinear
from ...diffusion.side_paths.low_rank import LowRankConvolution, LowRankLinear
from ...diffusion.side_paths.magnitude import InputMagnitude, OutputMagnitude
from .adapters import LoadedLayer

Factors = Mapping[str, Tensor]
_MOST_KEPT_NBYTES = 32 * 1024**2
"""Bytes that the changes of one set of adapters keep beside its factors: a tenth of a step of 1024 x 1024 with guidance, by which
the prediction of a request's memory is off in any case. LoHas of SDXL's whole UNet would take as much as the UNet."""


class Kept:
    """Keeps what is computed from factors while there is room; the rest is computed at every call."""

    def __init__(self, most_nbytes: int = _MOST_KEPT_NBYTES) -> None:
        self._left = most_nbytes

    def reserve(self, nbytes: int) -> bool:
        """Take a number of bytes of the room; tell whether they were left."""
        fits = nbytes <= self._left
        self._left -= nbytes if fits else 0
        return fits

    def kept(self, compute: Callable[[], Tensor], nbytes: int) -> Callable[[], Tensor]:
        """Return a function with the same result, computed once if it may be kept."""
        if not self.reserve(nbytes):
            return compute
        found: list[Tensor] = []

        def once() -> Tensor:
            if not found:
                found.append(compute())
            return found[0]

        return once


def changes_of(
    layer: nn.Module, place: Layer, loaded: LoadedLayer, factors: Factors, strength: float, kept: Kept
) -> Iterator[Change]:
    """Build the changes of one layer: of its weight, and of its bias.

    Args:
        layer: of the network.
        place: what of the adapter's layer is this layer.
        loaded: the adapter's layer.
        factors: its tensors by their roles, in the dtype of the computation.
        strength: factor of its change, from the request.
        kept: where computed differences are kept.
    """
    scale = strength * loaded.scale
    change = _of_weight(layer, place, loaded, factors, scale, kept)
    if change is not None:
        magnitude = next((factors[role] for role in MAGNITUDES if role in factors), None)
        yield change if magnitude is None else _scaled(layer, place, change, magnitude, "dora_scale" in factors)
    for role, of_bias in (("diff_b", strength), ("up_bias", scale)):
        if role in factors:
            yield BiasDifference(layer, _rows(factors[role], place), of_bias)


def _of_weight(
    layer: nn.Module, place: Layer, loaded: LoadedLayer, factors: Factors, scale: float, kept: Kept
) -> WeightChange | None:
    algorithm, whole = loaded.layer.form.algorithm, place.first_row is None
    if algorithm == "lora" and not isinstance(layer, nn.Embedding):
        return _lora(layer, {**factors, "up": _rows(factors["up"], place)}, scale)
    if algorithm == "lokr" and whole and isinstance(layer, nn.Linear | nn.Conv2d):
        return _lokr(layer, factors, scale)
    compute = _difference(algorithm, factors)
    if compute is None:
        return None
    weight: Any = layer.weight

    def of_place() -> Tensor:
        return _rows(compute(), place).reshape(weight.shape)

    if algorithm == "full":
        return Difference(layer, of_place, scale)
    nbytes = weight.numel() * next(iter(factors.values())).itemsize
    return Difference(layer, kept.kept(of_place, nbytes), scale)


def _lora(layer: nn.Module, factors: Factors, scale: float) -> WeightChange:
    down, up, mid = factors["down"], factors["up"], factors.get("mid")
    if isinstance(layer, nn.Linear):
        return LowRankLinear(down.flatten(1), up.flatten(1), scale)
    kernel: Any = layer.kernel_size if isinstance(layer, nn.Conv2d) and mid is None else (1, 1)
    return LowRankConvolution(layer, down.reshape(len(down), -1, *kernel), up.flatten(1)[:, :, None, None], scale, mid)


def _lokr(layer: nn.Module, factors: Factors, scale: float) -> WeightChange:
    w1, w2 = _factor(factors, "lokr_w1")(), _factor(factors, "lokr_w2")()
    if isinstance(layer, nn.Linear):
        return KroneckerLinear(w1.flatten(1), w2.flatten(1), scale)
    given: Any = layer
    return KroneckerConvolution(layer, w1.flatten(1), w2.reshape(len(w2), -1, *given.kernel_size), scale)


def _scaled(layer: nn.Module, place: Layer, change: WeightChange, magnitude: Tensor, is_of_lycoris: bool) -> Change:
    """Add lengths; LyCORIS's are of the inputs if their first side is 1."""
    if is_of_lycoris and magnitude.ndim > 1 and len(magnitude) == 1:
        return InputMagnitude(layer, change, magnitude)
    return OutputMagnitude(layer, change, _rows(magnitude.flatten(), place))


def _difference(algorithm: str, factors: Factors) -> Callable[[], Tensor] | None:
    """Return the function that computes the difference of a weight, as a matrix or in its own shape; None for a bias alone."""
    if algorithm == "loha":
        return lambda: _loha(factors)
    if algorithm == "lokr":
        w1, w2 = _factor(factors, "lokr_w1"), _factor(factors, "lokr_w2")
        return lambda: torch.kron(w1(), w2().flatten(1))
    if algorithm == "lora":
        return lambda: factors["up"].flatten(1) @ factors["down"].flatten(1)
    difference = factors.get("diff")
    return None if difference is None else lambda: difference


def _loha(factors: Factors) -> Tensor:
    a1, b1, a2, b2 = (factors[f"hada_{name}"] for name in ("w1_a", "w1_b", "w2_a", "w2_b"))
    if "hada_t1" not in factors:
        return hadamard(a1, b1, a2, b2)
    return unfolded(factors["hada_t1"], a1, b1) * unfolded(factors["hada_t2"], a2, b2)


def _factor(factors: Factors, role: str) -> Callable[[], Tensor]:
    """Return the function that computes a Kronecker factor."""
    whole, core = factors.get(role), factors.get(role.replace("_w", "_t"))
    if whole is not None:
        return lambda: whole
    left, right = factors[f"{role}_a"], factors[f"{role}_b"]
    return lambda: left @ right if core is None else unfolded(core, left, right)


def _rows(tensor: Tensor, place: Layer) -> Tensor:
    """Cut the rows of a place out of a tensor that holds several."""
    if place.first_row is None:
        return tensor
    return tensor[place.first_row : place.first_row + place.shape[0]]
