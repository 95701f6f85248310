"""A flat buffer for all weights of a component, and the layout of its tensors."""

import math
import mmap
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from threading import Lock
from typing import Any

import torch
from torch import Tensor

ALIGNMENT_NBYTES = 64
"""A cache line: every tensor begins on one."""
_PORTABLE = 1
"""CUDA's cudaHostRegisterPortable: pinned for all devices."""
_FITTING = 1.001
"""Factor by which a buffer may exceed its layout: it is allocated when only the files' headers have told its size."""


@dataclass(frozen=True, slots=True)
class Slot:
    """Place, shape and dtype of a tensor in a flat buffer of bytes."""

    begin: int
    shape: tuple[int, ...]
    stride: tuple[int, ...]
    """Strides in elements; channels_last for the weight of a convolution."""
    dtype: torch.dtype

    @property
    def nbytes(self) -> int:
        """Size of the tensor without padding."""
        return math.prod(self.shape) * self.dtype.itemsize

    def raw(self, buffer: Tensor) -> Tensor:
        """Return the tensor's bytes in a buffer of bytes."""
        return buffer[self.begin : self.begin + self.nbytes]

    def view(self, buffer: Tensor) -> Tensor:
        """Return the tensor in a buffer of bytes, on the buffer's device."""
        return self.raw(buffer).view(self.dtype).as_strided(self.shape, self.stride)


@dataclass(frozen=True, slots=True)
class Layout:
    """The slots of a component's tensors in the order of their use, and the size of the buffer in bytes."""

    slots: dict[str, Slot]
    nbytes: int

    def fits(self, nbytes: int) -> bool:
        """Tell whether a buffer of this size has room for it without wasting much."""
        return self.nbytes <= nbytes <= self.nbytes * _FITTING


def lay_out(tensors: Iterable[tuple[str, Tensor]], dtype_of: Callable[[str], torch.dtype]) -> Layout:
    """Place tensors one after the other; those with four axes in channels_last, which convolutions are fastest in.

    Args:
        tensors: by name, in the order in which they are used; only their shapes matter.
        dtype_of: returns the dtype of the tensor of a name.
    """
    slots: dict[str, Slot] = {}
    end = 0
    for name, tensor in tensors:
        shape = tuple(tensor.shape)
        slots[name] = slot = Slot(end, shape, _stride(shape), dtype_of(name))
        end += aligned(slot.nbytes)
    return Layout(slots, end)


def aligned(nbytes: int) -> int:
    """Round a tensor's size up to the alignment of a buffer, in bytes."""
    return -(-nbytes // ALIGNMENT_NBYTES) * ALIGNMENT_NBYTES


def _stride(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Return the strides in elements: channels_last for four axes, otherwise contiguous."""
    axes = (1, 3, 2, 0) if len(shape) == 4 else range(len(shape) - 1, -1, -1)
    stride, step = [0] * len(shape), 1
    for axis in axes:
        stride[axis] = step
        step *= max(shape[axis], 1)
    return tuple(stride)


class HostArena:
    """A buffer in host memory: exact in size, page-aligned, returned to the system with its last reference.

    torch's allocators round up, the pinned one to powers of two, which makes 8.6 GB of a 5.1 GB UNet. Pages are populated on
    first touch or by `PrefaultBuffer`; `mmap.madvise` would populate them under the interpreter's lock, and stop the whole
    server for seconds.
    """

    def __init__(self, nbytes: int) -> None:
        self.nbytes = nbytes
        memory = mmap.mmap(-1, max(nbytes, 1), flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        if hasattr(mmap, "MADV_HUGEPAGE"):
            memory.madvise(mmap.MADV_HUGEPAGE)  # the first touch of a page costs the same for 2 MiB as for 4 KiB
        self.buffer = torch.frombuffer(memory, dtype=torch.uint8)[:nbytes]
        self._pinned = False
        self._pinning = Lock()

    def pin(self) -> None:
        """Lock the pages for fast asynchronous copies to a CUDA device; if the system refuses, copies are only slower."""
        with self._pinning:  # devices pin an arena that they share at the same time
            if not self._pinned and self.nbytes:
                self._pinned = int(_cudart().cudaHostRegister(self.buffer.data_ptr(), self.nbytes, _PORTABLE)) == 0

    def __del__(self) -> None:
        if getattr(self, "_pinned", False):
            _cudart().cudaHostUnregister(self.buffer.data_ptr())


def _cudart() -> Any:
    return torch.cuda.cudart()
