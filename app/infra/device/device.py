"""Which device there is, and how much memory it has."""

import torch

from .host_memory import host_nbytes


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


def device_nbytes(device: torch.device) -> int:
    """Bytes of memory of the device; the machine's for a CPU."""
    if device.type == "cuda":
        return torch.cuda.get_device_properties(device).total_memory
    return host_nbytes()
