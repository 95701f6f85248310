"""One flat buffer for all weights of a component, and the layout that makes tensors of it."""

import math
import mmap
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

ALIGNMENT_NBYTES = 64
"""A cache line: every tensor begins on one."""
_FITTING = 1.001
"""A buffer may be larger than a layout by so much: it is had when only the files' headers have told its size."""


@dataclass(frozen=True, slots=True)
class Slot:
    """Where a tensor lies in a flat buffer of bytes, and how."""

    begin: int
    shape: tuple[int, ...]
    stride: tuple[int, ...]
    """In elements; of a convolution's weight that of channels_last."""
    dtype: torch.dtype

    @property
    def nbytes(self) -> int:
        """Of the tensor, without padding."""
        return math.prod(self.shape) * self.dtype.itemsize

    def raw(self, buffer: Tensor) -> Tensor:
        """Its bytes in a buffer of bytes."""
        return buffer[self.begin : self.begin + self.nbytes]

    def view(self, buffer: Tensor) -> Tensor:
        """The tensor in a buffer of bytes, on the buffer's device."""
        return self.raw(buffer).view(self.dtype).as_strided(self.shape, self.stride)


@dataclass(frozen=True, slots=True)
class Layout:
    """The slots of a component's tensors, in the order in which they are used, and the bytes that they take."""

    slots: dict[str, Slot]
    nbytes: int

    def fits(self, nbytes: int) -> bool:
        """Whether a buffer of so many bytes has room for it, and little more."""
        return self.nbytes <= nbytes <= self.nbytes * _FITTING


def lay_out(tensors: Iterable[tuple[str, Tensor]], dtype_of: Callable[[str], torch.dtype]) -> Layout:
    """Place tensors one after the other; those with four axes in channels_last, which convolutions are fastest in.

    Args:
        tensors: by name, in the order in which they are used; only their shapes matter.
        dtype_of: the dtype that a tensor of that name shall have.
    """
    slots: dict[str, Slot] = {}
    end = 0
    for name, tensor in tensors:
        shape = tuple(tensor.shape)
        slots[name] = slot = Slot(end, shape, _stride(shape), dtype_of(name))
        end += aligned(slot.nbytes)
    return Layout(slots, end)


def aligned(nbytes: int) -> int:
    """What a tensor of so many bytes takes of a buffer."""
    return -(-nbytes // ALIGNMENT_NBYTES) * ALIGNMENT_NBYTES


def _stride(shape: tuple[int, ...]) -> tuple[int, ...]:
    """In elements: channels_last where there are four axes, otherwise the last axis runs fastest."""
    axes = (1, 3, 2, 0) if len(shape) == 4 else range(len(shape) - 1, -1, -1)
    stride, step = [0] * len(shape), 1
    for axis in axes:
        stride[axis] = step
        step *= max(shape[axis], 1)
    return tuple(stride)


class HostArena:
    """A buffer in host memory: exact in size, page-aligned, given back to the system with its last reference.

    Its pages come when they are touched first, or had by `pages.Room`: `mmap.madvise` to have them at once would hold the
    interpreter, and with it the whole server, for seconds.

    torch's own allocators round up: the pinned one to powers of two, which makes 8.6 GB of a 5.1 GB UNet.
    """

    def __init__(self, nbytes: int) -> None:
        self.nbytes = nbytes
        memory = mmap.mmap(-1, max(nbytes, 1), flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        if hasattr(mmap, "MADV_HUGEPAGE"):
            memory.madvise(mmap.MADV_HUGEPAGE)  # the first touch of a page costs the same for 2 MiB as for 4 KiB
        self.buffer = torch.frombuffer(memory, dtype=torch.uint8)[:nbytes]
        self._pinned = False

    def pin(self) -> None:
        """Lock the pages for fast asynchronous copies to a CUDA device; where that is refused, copies are just slower."""
        if not self._pinned and self.nbytes:
            self._pinned = int(_cudart().cudaHostRegister(self.buffer.data_ptr(), self.nbytes, 0)) == 0

    def __del__(self) -> None:
        if getattr(self, "_pinned", False):
            _cudart().cudaHostUnregister(self.buffer.data_ptr())


def _cudart() -> Any:
    return torch.cuda.cudart()
