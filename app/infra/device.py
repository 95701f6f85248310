"""Which device there is, which dtype suits it, how much memory it has."""

import torch

from ..domain.model import DtypeName
from .host import host_nbytes

_DTYPES = {"bfloat16": torch.bfloat16, "float16": torch.float16, "float32": torch.float32}


def choose_device(name: str) -> torch.device:
    """The named device; `auto` is the first GPU, else the CPU.

    Raises:
        ValueError: it is not there.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    device = torch.device(name)
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise ValueError(f"device.name is {name!r}, but torch sees {torch.cuda.device_count()} CUDA devices")
    return device


def choose_dtype(name: DtypeName, device: torch.device) -> torch.dtype:
    """The named dtype; `auto` is bfloat16 where the device computes in it natively, else float16 on a GPU, float32 on a CPU."""
    if name != "auto":
        return _DTYPES[name]
    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.get_device_capability(device) >= (8, 0) else torch.float16
    if device.type == "mps":
        return torch.float16
    return torch.bfloat16 if _cpu_has_bf16() else torch.float32


def _cpu_has_bf16() -> bool:
    capabilities = torch.cpu.get_capabilities()
    return any(capabilities.get(name, False) for name in ("avx512_bf16", "amx_bf16", "bf16"))


def device_nbytes(device: torch.device) -> int:
    """Bytes of memory of the device; the machine's for a CPU."""
    if device.type == "cuda":
        return torch.cuda.get_device_properties(device).total_memory
    return host_nbytes()
