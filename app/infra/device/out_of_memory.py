"""Tells running out of memory from other failures, with the stage in which it happened."""

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
"""Parts of the messages of RuntimeErrors that torch raises for it."""


def is_out_of_memory(error: BaseException) -> bool:
    """Tell whether an error means that memory ran out, on the device or the host."""
    if isinstance(error, (torch.OutOfMemoryError, MemoryError)):
        return True
    return isinstance(error, RuntimeError) and any(phrase in str(error) for phrase in _PHRASES)


@contextmanager
def stage(name: str) -> Iterator[None]:
    """Turn running out of memory into OutOfMemory with this stage.

    Stages are `place`, `encode`, `encode_image`, `denoise`, `decode` and `upscale`.

    The error's cause holds the frames of the failure, and with them their tensors; `without_frames` drops them before the
    error leaves the engine.
    """
    try:
        yield
    except Exception as error:
        if is_out_of_memory(error):
            raise OutOfMemory(name) from error
        raise


def without_frames(error: _E) -> _E:
    """Return the error without its traceback, cause and context, so that it keeps no frame and no tensor alive."""
    # `traceback.clear_frames` is not enough: closures inside torch keep the arguments of its modules.
    error.__cause__ = error.__context__ = None
    return error.with_traceback(None)
