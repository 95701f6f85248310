"""In which dtype a device computes fastest, and in which a model's weights are kept."""

import time
from dataclasses import dataclass
from functools import cache
from typing import Self

import torch

from ...domain.models.spec import DtypeName

_DTYPES = {"bfloat16": torch.bfloat16, "float16": torch.float16, "float32": torch.float32}
_NARROW = {
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "F8_E4M3": torch.float16,
    "F8_E5M2": torch.float16,
}
"""Dtypes in files -> the 16-bit dtype that holds every number of theirs."""
_WORTH_NARROWING = 10**8
"""Numbers from which a model is kept in 16 bits and widened as it is used. Small models save no memory to speak of, and their
layers are so short that widening would be felt."""
_SIDE = 1024
_REPEATS = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class FileWeights:
    """What the headers of a model's files say of the weights that loading reads."""

    numbers: int
    vectors: int
    """Those of the numbers that stand in tensors of one axis."""
    dtype: str
    """Of most of them, as safetensors writes it."""


@dataclass(frozen=True, slots=True)
class Precision:
    """How a model's weights are kept, and in which dtype it computes; different ones only on a CPU, see `widening`."""

    kept: torch.dtype
    computed: torch.dtype

    @classmethod
    def of(cls, dtype: torch.dtype) -> Self:
        """The same for both."""
        return cls(dtype, dtype)

    @property
    def upcasts(self) -> bool:
        """Whether weights are kept in fewer bits than they are computed in."""
        return self.kept != self.computed

    def nbytes(self, weights: FileWeights) -> int:
        """What the weights take in memory."""
        return (weights.numbers - weights.vectors) * self.kept.itemsize + weights.vectors * self.computed.itemsize


def computed_in(name: DtypeName, device: torch.device) -> torch.dtype:
    """What a model computes in.

    Args:
        name: from the settings. `auto` is bfloat16 where the device is fast in it, else float16 on a GPU and float32 on a CPU.
            On a CPU a 16-bit name says how weights are kept; what is slow there is computed in float32.
        device: where it runs.
    """
    if device.type == "cpu":
        return torch.bfloat16 if name in ("auto", "bfloat16") and _bf16_pays() else torch.float32
    if name != "auto":
        return _DTYPES[name]
    fast = device.type == "cuda" and torch.cuda.get_device_capability(device) >= (8, 0)
    return torch.bfloat16 if fast else torch.float16


def precision_of(name: DtypeName, device: torch.device, weights: FileWeights) -> Precision:
    """How a model is kept and computed; `auto` keeps a large model in the 16 bits of its file where float32 computes them."""
    computed = computed_in(name, device)
    if name != "auto":
        return Precision(_DTYPES[name], computed)
    if computed == torch.float32 and weights.numbers >= _WORTH_NARROWING:
        return Precision(_NARROW.get(weights.dtype, torch.float32), computed)
    return Precision.of(computed)


@cache
def _bf16_pays() -> bool:
    """Whether this machine's CPU is faster in bfloat16 than in float32.

    One that says that it has instructions for bfloat16 may be half as fast with them (AVX512-BF16 where AMX is masked), or
    many times as fast, so it is measured, in 0.1 s. Without them torch emulates it, slowly.
    """
    has = torch.cpu.get_capabilities()
    if not any(has.get(name, False) for name in ("amx_bf16", "avx512_bf16", "bf16")):
        return False
    return has.get("amx_bf16", False) or _product_s(torch.bfloat16) < _product_s(torch.float32)


def _product_s(dtype: torch.dtype) -> float:
    """Seconds of a matrix product, the fastest of three."""
    matrix = torch.ones(_SIDE, _SIDE, dtype=dtype)
    seconds: list[float] = []
    for _ in range(_REPEATS):
        begun = time.perf_counter()
        torch.matmul(matrix, matrix)
        seconds.append(time.perf_counter() - begun)
    return min(seconds)
