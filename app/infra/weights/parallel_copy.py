"""Fills tensors from files: in parallel, cast and laid out on the way, straight into place."""

import os
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from typing import Literal

import torch
from torch import Tensor

from .prefault import PrefaultBuffer, leave_pages, prefault
from .safetensors_file import MappedFile, Place, bytes_of

ReadBy = Literal["auto", "plain", "mmap"]
"""Through a mapping, by plain reads, or `auto`: through a mapping where the file is held."""
_THREADS = min(8, os.cpu_count() or 1)
_CHUNK = 1 << 22
"""Elements that are read and cast at once: enough that threads rarely meet at the interpreter's lock, where each waits for a
wake-up that takes as long as casting 2**17 of them."""
_BATCH_NBYTES = 1 << 24
"""Tensors are handed to a thread in batches of at least so much."""
_TILE = 1 << 16
"""Elements that are cast at once, by way of float32, within what is cast in one call: so few stay in a core's own cache."""
_FEW = 1 << 12
"""Elements that are cast one at a time before a second call would have begun."""


class Filling:
    """Tensors that are being filled."""

    def __init__(self, nbytes: dict[Future[None], int]) -> None:
        self._nbytes = nbytes

    def finish(self, on_bytes: Callable[[int], None]) -> None:
        """Wait until all are full.

        Args:
            on_bytes: hears, in this thread, how many more bytes are in place.

        Raises:
            OSError: a file cannot be read to its end.
        """
        for future in as_completed(self._nbytes):
            future.result()
            on_bytes(self._nbytes[future])


Pair = tuple[Tensor, Tensor]
"""A destination and its source, of equal shapes; dtypes and strides may differ. Both are dense."""


class Filler:
    """Copies tensors of mapped files to where they are wanted, by threads of its own, until it is stopped."""

    def __init__(self, read_by: ReadBy) -> None:
        self._read_by: ReadBy = read_by
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="reader", initializer=_work_alone)
        self._scratch = _Scratch()
        self._threads_of_others = torch.get_num_threads()

    def prepare(self, room: Tensor) -> None:
        """Have the pages of memory that will be filled.

        That needs no interpreter's lock, which the thread that builds the networks holds meanwhile.
        """
        pages = PrefaultBuffer(room)
        for _ in range(_THREADS):
            self._threads.submit(pages.prefault)

    def start(self, files: Sequence[MappedFile], pairs: Iterable[Pair]) -> Filling:
        """Begin to copy each source to its destination; after what was started before.

        Args:
            files: that the sources are views of; open until the filling is finished.
            pairs: in the order in which they are wanted.
        """
        if self._read_by == "auto":
            for file in files:
                file.hold()
        return Filling({self._threads.submit(self._copy_all, files, some): _nbytes(some) for some in _batches(pairs)})

    def stop(self) -> None:
        """Leave out what has not begun, and wait for the rest."""
        self._threads.shutdown(wait=True, cancel_futures=True)
        torch.set_num_threads(self._threads_of_others)  # threads to come take the number that was set last

    def _copy_all(self, files: Sequence[MappedFile], pairs: Sequence[Pair]) -> None:
        for wanted, source in pairs:
            self._copy(files, wanted, source)

    def _copy(self, files: Sequence[MappedFile], wanted: Tensor, source: Tensor) -> None:
        place = next((at for file in files if (at := file.place_of(source)) is not None), None)
        if place is None:
            self._cast_all(wanted, source)
        elif self._read_by == "mmap" or (self._read_by == "auto" and place.file.is_held):
            prefault(source, of_file=True)
            self._cast_all(wanted, source)
            leave_pages(source)
        else:
            self._read(place, wanted, source)

    def _read(self, place: Place, wanted: Tensor, source: Tensor) -> None:
        """Copy without the mapping, which only tells where the source lies."""
        if not source.is_contiguous():
            raw = torch.empty_like(source)
            place.read_into(bytes_of(raw.as_strided((raw.numel(),), (1,))))
            self._cast_all(wanted, raw)
        elif wanted.dtype == source.dtype and wanted.is_contiguous():
            place.read_into(bytes_of(wanted))
        else:
            for to, part in _chunks(wanted, source):
                raw, room = self._scratch.raw(part)
                place.read_into(room)
                self._cast(to, raw)

    def _cast_all(self, wanted: Tensor, source: Tensor) -> None:
        for to, part in _chunks(wanted, source):
            self._cast(to, part)

    def _cast(self, wanted: Tensor, source: Tensor) -> None:
        """Copy with a change of dtype and layout, one after the other, which is faster than both at once."""
        values = source
        if values.dtype != wanted.dtype and not wanted.is_contiguous():
            values = self._scratch.like(source, wanted.dtype)
            self._cast(values, source)
        if {wanted.dtype, values.dtype} == {torch.float16, torch.bfloat16}:
            self._cast_by_float32(wanted.view(-1), values.reshape(-1))
        else:
            wanted.copy_(values)

    def _cast_by_float32(self, wanted: Tensor, source: Tensor) -> None:
        """Between the two 16-bit kinds torch casts one number at a time; by way of float32 it is several times as fast.

        Both steps for all tiles are one call, which takes them in order: between two the interpreter's lock would be waited for.
        """
        if len(source) <= _FEW:
            wanted.copy_(source)
            return
        tile = self._scratch.like(source[:_TILE], torch.float32)
        whole, rest = divmod(len(source), _TILE)
        tiles = [tile] * whole + ([tile[:rest]] if rest else [])
        # The only call that takes many copies.
        torch._foreach_copy_(  # pyright: ignore[reportPrivateImportUsage]
            _alternately(tiles, wanted.split(_TILE)), _alternately(source.split(_TILE), tiles)
        )


def _work_alone() -> None:
    """Have torch work in this thread alone for this thread: the readers share the cores already.

    OpenMP counts threads for each thread that asks; each of the readers would have as many as there are cores for itself.
    """
    torch.set_num_threads(1)


class _Scratch(threading.local):
    """Small buffers of each thread, used again and again."""

    def __init__(self) -> None:
        self._buffers: dict[torch.dtype, Tensor] = {}
        self._raw = torch.empty(0, dtype=torch.uint8)
        self._room = bytes_of(self._raw)

    def like(self, tensor: Tensor, dtype: torch.dtype) -> Tensor:
        """A contiguous tensor of that shape, valid until the next call with the same dtype."""
        buffer = self._buffers.get(dtype)
        if buffer is None or buffer.numel() < tensor.numel():
            buffer = self._buffers[dtype] = torch.empty(tensor.numel(), dtype=dtype)
        return buffer[: tensor.numel()].view(tensor.shape)

    def raw(self, tensor: Tensor) -> tuple[Tensor, memoryview]:
        """A contiguous tensor of that shape and dtype, and its bytes; valid until the next call."""
        if len(self._raw) < tensor.nbytes:
            self._raw = torch.empty(tensor.nbytes, dtype=torch.uint8)
            self._room = bytes_of(self._raw)
        return self._raw[: tensor.nbytes].view(tensor.dtype).view(tensor.shape), self._room[: tensor.nbytes]


def _alternately(one: Iterable[Tensor], other: Iterable[Tensor]) -> list[Tensor]:
    return [tensor for pair in zip(one, other, strict=True) for tensor in pair]


def _batches(pairs: Iterable[Pair]) -> Iterator[list[Pair]]:
    batch: list[Pair] = []
    nbytes = 0
    for pair in pairs:
        batch.append(pair)
        nbytes += pair[0].nbytes
        if nbytes >= _BATCH_NBYTES:
            yield batch
            batch, nbytes = [], 0
    if batch:
        yield batch


def _nbytes(pairs: Sequence[Pair]) -> int:
    return sum(wanted.nbytes for wanted, _ in pairs)


def _chunks(wanted: Tensor, source: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """Both tensors in matching parts of about `_CHUNK` elements, in the order of the source's memory."""
    if wanted.is_contiguous() and source.is_contiguous():
        wanted, source = wanted.view(-1), source.view(-1)
    if wanted.numel() <= _CHUNK:
        return iter([(wanted, source)])
    rows = max(1, _CHUNK * len(wanted) // wanted.numel())
    return zip(wanted.split(rows), source.split(rows), strict=True)
