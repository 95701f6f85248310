"""Puts simulated devices in the place of torch.cuda."""

import gc
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import torch

from . import driver
from .driver import Event, SimulatedGpu, Stream, gpu_of
from .tensors import Literals, Operations

_GIB = 1024**3


@contextmanager
def simulated_gpus(*totals: int, capability: tuple[int, int] = (9, 0)) -> Iterator[list[SimulatedGpu]]:
    """Simulate devices in this thread, and in threads that begin until the end; check that no memory was used wrongly.

    Args:
        totals: memory of each device in bytes; none: one device with 8 GiB.
        capability: compute capability of all.
    """
    torch._C._ensureCUDADeviceGuardSet()  # otherwise torch asks the driver for the current device
    registered: dict[int, int] = {}
    gpus = [
        SimulatedGpu(index, total, capability, registered=registered)
        for index, total in enumerate(totals or (8 * _GIB,))
    ]
    with ExitStack() as stack:
        stack.enter_context(driver.installed(gpus))
        for name, replacement in _replacements(gpus, registered).items():
            stack.enter_context(patch.object(torch.cuda, name, replacement))
        stack.enter_context(patch.object(threading.Thread, "run", _watched(threading.Thread.run)))
        stack.enter_context(Literals())
        stack.enter_context(Operations())
        yield gpus
        gc.collect()  # what is page-locked is given back to these devices
    hazards = [hazard for gpu in gpus for hazard in gpu.hazards]
    assert not hazards, hazards


def _watched(run: Any) -> Any:
    def watched(thread: threading.Thread) -> None:
        with Literals(), Operations():
            run(thread)

    return watched


def _replacements(gpus: list[SimulatedGpu], registered: dict[int, int]) -> dict[str, Any]:
    runtime = _runtime_of(gpus, registered)
    return {
        "_lazy_init": lambda: None,
        "is_available": lambda: True,
        "device_count": lambda: len(gpus),
        "set_device": driver.set_device,
        "get_device_capability": lambda device=None: gpu_of(device).capability,
        "get_device_properties": lambda device=None: SimpleNamespace(total_memory=gpu_of(device).total),
        "mem_get_info": lambda device=None: (gpu_of(device).total - gpu_of(device).allocated, gpu_of(device).total),
        "memory_allocated": lambda device=None: gpu_of(device).allocated,
        "memory_reserved": lambda device=None: gpu_of(device).allocated,
        "max_memory_allocated": lambda device=None: gpu_of(device).peak,
        "reset_peak_memory_stats": _reset_peak,
        "empty_cache": lambda: None,
        "synchronize": lambda device=None: gpu_of(device).synchronize(),
        "cudart": lambda: runtime,
        "Stream": Stream,
        "Event": Event,
        "stream": driver.in_stream,
        "current_stream": lambda device=None: driver.current_stream(gpu_of(device)),
    }


def _reset_peak(device: Any = None) -> None:
    gpu_of(device).peak = gpu_of(device).allocated


def _runtime_of(gpus: list[SimulatedGpu], registered: dict[int, int]) -> SimpleNamespace:
    """Stand in for the CUDA runtime: what page-locks memory of the host."""

    def register(address: int, nbytes: int, _flags: int) -> int:
        registered[address] = nbytes
        for gpu in gpus:
            gpu.page_locked_by.append(threading.current_thread().name)
        return 0

    def unregister(address: int) -> int:
        nbytes = registered.pop(address)
        for gpu in gpus:
            gpu.note_host_freed(address, nbytes)
        return 0

    return SimpleNamespace(cudaHostRegister=register, cudaHostUnregister=unregister)
