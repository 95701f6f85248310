"""Chooses the device, and reads the size of its memory."""

import torch

from ...domain.errors import EngineFailed
from .host_memory import host_nbytes


def choose_device(name: str) -> torch.device:
    """Return the named device; `auto` is the first GPU, or the CPU if there is none.

    Raises:
        EngineFailed: the machine has no such device.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    kind, _, index = name.partition(":")
    # Before torch reads the name, because it wraps numbers above 127 around.
    if kind == "cuda" and int(index or 0) >= torch.cuda.device_count():
        raise _no_such_device(name, f"torch sees {torch.cuda.device_count()} CUDA devices")
    if kind == "mps" and not torch.backends.mps.is_available():
        raise _no_such_device(name, "torch sees no Apple GPU")
    return torch.device(name)


def use_device(name: str) -> torch.device:
    """Return the named device, as `choose_device` does, and make it that of the calling thread; `cpu:1` is a CPU, too."""
    device = choose_device(name.partition(":")[0] if name.startswith("cpu") else name)
    enter(device)
    return device


def enter(device: torch.device) -> None:
    """Make a device that of the calling thread.

    Events are recorded in the stream of the thread's device, and calls without one take memory on the first device.
    """
    if device.type == "cuda" and device.index is not None:
        torch.cuda.set_device(device)


def all_devices() -> list[str]:
    """List the GPUs by name; `auto` if there are less than two."""
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    return [f"cuda:{number}" for number in range(count)] if count > 1 else ["auto"]


def _no_such_device(name: str, seen: str) -> EngineFailed:
    return EngineFailed(
        f"The settings name the device {name!r} (device.name or device.names), but {seen} here. Set it to 'auto' or 'cpu', or "
        "give this machine or container its GPU and driver; then restart the server."
    )


def device_nbytes(device: torch.device) -> int:
    """Return the size of the device's memory in bytes; for a CPU, that of the machine or container."""
    if device.type == "cuda":
        return torch.cuda.get_device_properties(device).total_memory
    return host_nbytes()
