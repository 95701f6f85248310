"""Fills tensors from files: in parallel, cast and laid out on the way, straight into place."""

import mmap
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from typing import Literal

import torch
from torch import Tensor

from .mapped import MappedFile

ReadBy = Literal["plain", "mmap"]
_THREADS = min(8, os.cpu_count() or 1)
_CHUNK = 1 << 19
"""Elements that are read and cast at once: few enough to stay in the CPU's cache, enough that threads rarely meet at the
interpreter's lock (chunks of 2**14 are four times slower)."""


class Filling:
    """Tensors that are being filled."""

    def __init__(self, done: dict[Future[None], int]) -> None:
        self._done = done

    def finish(self, on_bytes: Callable[[int], None]) -> None:
        """Wait until all are full.

        Args:
            on_bytes: hears, in this thread, how many more bytes are in place.

        Raises:
            OSError: a file cannot be read to its end.
        """
        for future in as_completed(self._done):
            future.result()
            on_bytes(self._done[future])


class Filler:
    """Copies tensors of mapped files to where they are wanted, by threads of its own, until it is stopped."""

    def __init__(self, read_by: ReadBy) -> None:
        self._read_by: ReadBy = read_by
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="reader", initializer=_work_alone)
        self._scratch = _Scratch()
        self._threads_of_others = torch.get_num_threads()

    def start(self, files: Sequence[MappedFile], pairs: Sequence[tuple[Tensor, Tensor]]) -> Filling:
        """Begin to copy each source, the second of a pair, to its destination, the first; after what was started before.

        Args:
            files: that the sources are views of; open until the filling is finished.
            pairs: of equal shapes; dtypes and strides may differ.
        """
        return Filling({self._threads.submit(self._copy, files, *pair): pair[0].nbytes for pair in pairs})

    def stop(self) -> None:
        """Leave out what has not begun, and wait for the rest."""
        self._threads.shutdown(wait=True, cancel_futures=True)
        torch.set_num_threads(self._threads_of_others)  # threads to come take the number that was set last

    def _copy(self, files: Sequence[MappedFile], wanted: Tensor, source: Tensor) -> None:
        found = None
        if self._read_by == "plain":
            found = next((at for file in files if (at := file.place_of(source)) is not None), None)
        for to, part in _chunks(wanted, source):
            _touch(to)
            if found is None:
                self._cast(to, part)
                continue
            if to.dtype == part.dtype and to.is_contiguous():
                found.read_into(to)
                continue
            raw = self._scratch.like(part, part.dtype)
            found.read_into(raw)
            self._cast(to, raw)

    def _cast(self, wanted: Tensor, source: Tensor) -> None:
        """Copy with a change of dtype and layout, one after the other, which is faster than both at once.

        torch casts between the two 16-bit kinds one number at a time; by way of float32 it is several times as fast.
        """
        values = source
        if {wanted.dtype, source.dtype} == {torch.float16, torch.bfloat16}:
            values = self._scratch.like(source, torch.float32).copy_(values)
        if not wanted.is_contiguous() and values.dtype != wanted.dtype:
            values = self._scratch.like(source, wanted.dtype, "laid out").copy_(values)
        wanted.copy_(values)


def _work_alone() -> None:
    """Have torch work in this thread alone for this thread: the readers share the cores already.

    OpenMP counts threads for each thread that asks; each of the readers would have as many as there are cores for itself.
    """
    torch.set_num_threads(1)


class _Scratch(threading.local):
    """Small buffers of each thread, used again and again."""

    def __init__(self) -> None:
        self._buffers: dict[tuple[torch.dtype, str], Tensor] = {}

    def like(self, tensor: Tensor, dtype: torch.dtype, use: str = "") -> Tensor:
        """A contiguous tensor of that shape, valid until the next call with the same dtype and use."""
        buffer = self._buffers.get((dtype, use))
        if buffer is None or buffer.numel() < tensor.numel():
            buffer = self._buffers[dtype, use] = torch.empty(tensor.numel(), dtype=dtype)
        return buffer[: tensor.numel()].view(tensor.shape)


def _chunks(wanted: Tensor, source: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """Both tensors in matching parts of about `_CHUNK` elements, in the order of the source's memory."""
    if wanted.is_contiguous() and source.is_contiguous():
        wanted, source = wanted.view(-1), source.view(-1)
    if wanted.numel() <= _CHUNK:
        return iter([(wanted, source)])
    rows = max(1, _CHUNK * len(wanted) // wanted.numel())
    return zip(wanted.split(rows), source.split(rows), strict=True)


def _touch(tensor: Tensor) -> None:
    """Have the pages of a dense tensor. A page that comes in the middle of a read or a cast costs twice as much.

    By torch, which lets go of the interpreter's lock; numpy keeps it for fewer than 500 numbers, and a page can take long.
    """
    tensor.as_strided((tensor.numel(),), (1,)).view(torch.uint8)[:: mmap.PAGESIZE].zero_()
