"""Chooses the dtype that a model computes in, and the dtype that its weights are kept in."""

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
"""Dtypes in files, and the 16-bit dtype that represents each of their numbers."""
_WORTH_NARROWING = 10**8
"""Count of weights from which a model is kept in 16 bits and upcast as it is used. Smaller models save little memory, and their
layers are so short that upcasting takes a noticeable part of their time."""
_SIDE = 1024
_REPEATS = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class FileWeights:
    """Counts of the weights that loading a model reads, from the headers of its files."""

    numbers: int
    vectors: int
    """Part of `numbers` in tensors of one axis, which are kept in the dtype of computation."""
    dtype: str
    """Dtype of most of them, in the spelling of safetensors."""


@dataclass(frozen=True, slots=True)
class Precision:
    """Dtypes of a model's weights and of its computation; they differ only on a CPU, see `upcasting`."""

    kept: torch.dtype
    computed: torch.dtype

    @classmethod
    def of(cls, dtype: torch.dtype) -> Self:
        """Return the precision with one dtype for both."""
        return cls(dtype, dtype)

    @property
    def upcasts(self) -> bool:
        """Whether weights are upcast before each use."""
        return self.kept != self.computed

    def nbytes(self, weights: FileWeights) -> int:
        """Return the size of the weights in memory, in bytes."""
        return (weights.numbers - weights.vectors) * self.kept.itemsize + weights.vectors * self.computed.itemsize


def computed_in(name: DtypeName, device: torch.device) -> torch.dtype:
    """Return the dtype that a model computes in.

    Args:
        name: from the settings. `auto` is bfloat16 if the device is fast in it, otherwise float16 on a GPU and float32 on a
            CPU. On a CPU a 16-bit name says how weights are kept; the computation is in float32 if that is faster.
        device: the device that the model runs on.
    """
    if device.type == "cpu":
        return torch.bfloat16 if name in ("auto", "bfloat16") and _bf16_pays() else torch.float32
    if name != "auto":
        return _DTYPES[name]
    fast = device.type == "cuda" and torch.cuda.get_device_capability(device) >= (8, 0)
    return torch.bfloat16 if fast else torch.float16


def precision_of(name: DtypeName, device: torch.device, weights: FileWeights) -> Precision:
    """Return the precision of a model; `auto` keeps a large model in the 16 bits of its file even if it computes in float32."""
    computed = computed_in(name, device)
    if name != "auto":
        return Precision(_DTYPES[name], computed)
    if computed == torch.float32 and weights.numbers >= _WORTH_NARROWING:
        return Precision(_NARROW.get(weights.dtype, torch.float32), computed)
    return Precision.of(computed)


@cache
def _bf16_pays() -> bool:
    """Tell whether this CPU is faster in bfloat16 than in float32.

    A CPU with instructions for bfloat16 may be half as fast with them (AVX512-BF16 with AMX masked) or many times as fast, so
    this measures it, in 0.1 s. A CPU without such instructions emulates bfloat16 slowly.
    """
    has = torch.cpu.get_capabilities()
    if not any(has.get(name, False) for name in ("amx_bf16", "avx512_bf16", "bf16")):
        return False
    return has.get("amx_bf16", False) or _product_s(torch.bfloat16) < _product_s(torch.float32)


def _product_s(dtype: torch.dtype) -> float:
    """Return the duration of a matrix product in seconds, the shortest of three."""
    matrix = torch.ones(_SIDE, _SIDE, dtype=dtype)
    seconds: list[float] = []
    for _ in range(_REPEATS):
        begun = time.perf_counter()
        torch.matmul(matrix, matrix)
        seconds.append(time.perf_counter() - begun)
    return min(seconds)
