"""Tells an out-of-memory from other failures, and where it happened; keeps no tensor alive in a traceback."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TypeVar

import torch

from ...domain.errors import OutOfMemory

_E = TypeVar("_E", bound=BaseException)

_PHRASES = (
    "DefaultCPUAllocator: can't allocate memory",
    "DefaultCPUAllocator: not enough memory",
    "CUDA error: out of memory",
    "CUDA out of memory",
    "MPS backend out of memory",
    "CUBLAS_STATUS_ALLOC_FAILED",
    "CUDNN_STATUS_ALLOC_FAILED",
)
"""How torch words it where it raises a plain RuntimeError."""


def is_out_of_memory(error: BaseException) -> bool:
    """Whether memory ran out, on the device or the host."""
    if isinstance(error, (torch.OutOfMemoryError, MemoryError)):
        return True
    return isinstance(error, RuntimeError) and any(phrase in str(error) for phrase in _PHRASES)


@contextmanager
def stage(name: str) -> Iterator[None]:
    """An out-of-memory within becomes OutOfMemory of this stage: `place`, `encode`, `denoise` or `decode`.

    It is raised inside the handler, so its context still holds the frames, and their tensors: code that passes it
    out of the engine raises a new one instead.
    """
    try:
        yield
    except Exception as error:
        if is_out_of_memory(error):
            raise OutOfMemory(name) from error
        raise


def without_frames(error: _E) -> _E:
    """A failure as if it had just been made: nothing that it went through, no frame and no tensor, is alive because of it.

    Clearing the frames alone would not do: closures of torch's own keep the arguments of its modules.
    """
    error.__cause__ = error.__context__ = None
    return error.with_traceback(None)
