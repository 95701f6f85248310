"""Fills tensors from files: in parallel, cast and laid out on the way, straight into place."""

import os
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from typing import Any, Literal

import torch
from torch import Tensor

from .mapped import MappedFile

ReadBy = Literal["plain", "mmap"]
_THREADS = min(8, os.cpu_count() or 1)
_CHUNK = 1 << 18
"""Elements that are cast at once: both ends and what lies between stay in the CPU's cache."""


class Filler:
    """Copies tensors of mapped files to where they are wanted. One load at a time."""

    def __init__(self, files: Sequence[MappedFile], read_by: ReadBy) -> None:
        self._files = files
        self._read_by: ReadBy = read_by
        self._own = threading.local()

    def fill(self, pairs: Sequence[tuple[Tensor, Tensor]], on_bytes: Callable[[int], None]) -> None:
        """Copy each source, the second of a pair, to its destination, the first.

        Args:
            pairs: of equal shapes; dtypes and strides may differ.
            on_bytes: hears, in this thread, how many more bytes are in place.

        Raises:
            OSError: a file cannot be read to its end.
        """
        with ThreadPoolExecutor(_THREADS, thread_name_prefix="reader") as pool:
            done = {pool.submit(self._copy, *pair): pair[0].nbytes for pair in pairs}
            for future in as_completed(done):
                future.result()
                on_bytes(done[future])

    def _copy(self, wanted: Tensor, source: Tensor) -> None:
        if self._read_by == "plain":
            for file in self._files:
                offset = file.offset_of(source)
                if offset is not None:
                    self._read(file, offset, wanted, source)
                    return
        cast(wanted, source)

    def _read(self, file: MappedFile, offset: int, wanted: Tensor, source: Tensor) -> None:
        if wanted.dtype == source.dtype and wanted.is_contiguous():
            read_into(file, offset, wanted)
            return
        buffer: Tensor | None = getattr(self._own, "buffer", None)
        if buffer is None or len(buffer) < source.nbytes:
            buffer = self._own.buffer = torch.empty(source.nbytes, dtype=torch.uint8)
        raw = buffer[: source.nbytes].view(source.dtype).view(source.shape)
        read_into(file, offset, raw)
        cast(wanted, raw)


def read_into(file: MappedFile, offset: int, tensor: Tensor) -> None:
    """Read the bytes of a contiguous tensor from a file.

    Raises:
        OSError: the file ends before it is full.
    """
    values: Any = tensor.flatten().view(torch.uint8).numpy()
    view = memoryview(values)
    while view:
        count = os.preadv(file.descriptor, [view], offset)
        if count == 0:
            raise OSError(f"{file.path.name} ended early while it was being read")
        view, offset = view[count:], offset + count


def cast(wanted: Tensor, source: Tensor) -> None:
    """Copy with a change of dtype and layout.

    torch casts between the two 16-bit kinds one number at a time; through a small float32 buffer it is twice as fast.
    """
    halves = {wanted.dtype, source.dtype} == {torch.float16, torch.bfloat16}
    if not (halves and wanted.is_contiguous() and source.is_contiguous()):
        wanted.copy_(source)
        return
    between = torch.empty(min(_CHUNK, source.numel()), dtype=torch.float32)
    for to, part in zip(wanted.view(-1).split(_CHUNK), source.view(-1).split(_CHUNK), strict=True):
        to.copy_(between[: len(part)].copy_(part))
