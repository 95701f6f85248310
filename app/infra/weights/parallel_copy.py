"""Copies tensors from files into place with several threads: each is read, cast and laid out on the way."""

import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed

import torch
from torch import Tensor

from ..device.cpu_threads import usable_cpus
from .prefault import PrefaultBuffer
from .safetensors_file import StoredTensor, bytes_of

_THREADS = min(8, usable_cpus())
_CHUNK = 1 << 22
"""Elements read and cast at a time. Between two calls a thread waits for the interpreter's lock, and waking up takes as long as
casting 2**17 elements, so smaller chunks would spend their time on waiting."""
_BATCH_NBYTES = 1 << 24
"""Least size of the batches of tensors that a thread takes."""
_TILE = 1 << 16
"""Elements cast at a time by way of float32, inside one call: few enough to stay in a core's own cache."""
_FEW = 1 << 12
"""Elements up to which torch's slow cast costs less than a second call."""


Pair = tuple[Tensor, StoredTensor]
"""A destination in memory and its source, of equal shapes; dtypes and strides may differ. The destination is dense."""


class PendingCopies:
    """Copies that were started and are not awaited yet."""

    def __init__(self, nbytes: dict[Future[None], int]) -> None:
        self._nbytes = nbytes

    def finish(self, on_bytes: Callable[[int], None]) -> None:
        """Wait until every destination is full.

        Args:
            on_bytes: called in this thread with the bytes that were added, after each batch.

        Raises:
            OSError: a file cannot be read to its end.
        """
        for future in as_completed(self._nbytes):
            future.result()
            on_bytes(self._nbytes[future])


class ParallelCopier:
    """Threads that copy tensors from files into place, until they are stopped."""

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="reader", initializer=_use_one_torch_thread)
        self._scratch = _Scratch()
        self._torch_threads = torch.get_num_threads()

    def prefault(self, memory: Tensor) -> None:
        """Begin to populate the pages of memory that will be filled.

        Populating needs no interpreter lock, so it goes on while another thread builds the networks in Python.
        """
        pages = PrefaultBuffer(memory)
        for _ in range(_THREADS):
            self._threads.submit(pages.prefault)

    def start(self, pairs: Iterable[Pair]) -> PendingCopies:
        """Begin to copy each source to its destination, after everything that was started before.

        Args:
            pairs: in the order in which they are wanted; the files stay open until the copies are finished.
        """
        return PendingCopies({self._threads.submit(self._copy_all, batch): _nbytes(batch) for batch in _batches(pairs)})

    def stop(self) -> None:
        """Drop what has not begun, and wait for the rest."""
        self._threads.shutdown(wait=True, cancel_futures=True)
        # New threads of the process begin with the number that was set last, in whichever thread: the readers set 1.
        torch.set_num_threads(self._torch_threads)

    def _copy_all(self, pairs: Sequence[Pair]) -> None:
        for wanted, stored in pairs:
            self._copy(wanted, stored)

    def _copy(self, wanted: Tensor, stored: StoredTensor) -> None:
        if not stored.is_contiguous:
            self._cast(wanted, stored.read())  # a transposed projection; small
        elif wanted.dtype == stored.dtype and wanted.is_contiguous():
            stored.read_into(bytes_of(wanted))
        else:
            self._copy_chunks(wanted, stored)

    def _copy_chunks(self, wanted: Tensor, stored: StoredTensor) -> None:
        skip = 0
        for part in _chunks(wanted):
            values, memory = self._scratch.raw(part.shape, stored.dtype)
            stored.read_into(memory, skip)
            self._cast(part, values)
            skip += len(memory)

    def _cast(self, wanted: Tensor, source: Tensor) -> None:
        """Copy with a change of dtype and layout; torch is faster in two calls, dtype first, than in one."""
        values = source
        if values.dtype != wanted.dtype and not wanted.is_contiguous():
            values = self._scratch.like(source, wanted.dtype)
            self._cast(values, source)
        if {wanted.dtype, values.dtype} == {torch.float16, torch.bfloat16}:
            self._cast_by_float32(wanted.view(-1), values.reshape(-1))
        else:
            wanted.copy_(values)

    def _cast_by_float32(self, wanted: Tensor, source: Tensor) -> None:
        """Cast between the two 16-bit dtypes by way of float32, which holds every number of both.

        torch casts directly one number at a time; both steps together take a fraction of that.
        """
        if len(source) <= _FEW:
            wanted.copy_(source)
            return
        tile = self._scratch.like(source[:_TILE], torch.float32)
        whole, rest = divmod(len(source), _TILE)
        tiles = [tile] * whole + ([tile[:rest]] if rest else [])
        # All copies in one call, which makes them in order: between two calls the thread would wait for the interpreter's lock.
        torch._foreach_copy_(  # pyright: ignore[reportPrivateImportUsage]
            _alternately(tiles, wanted.split(_TILE)), _alternately(source.split(_TILE), tiles)
        )


def _use_one_torch_thread() -> None:
    """Keep torch's work of this thread in this thread, because the readers share the cores already.

    OpenMP counts for each calling thread: every reader would start as many threads as there are cores.
    """
    torch.set_num_threads(1)


class _Scratch(threading.local):
    """Small buffers of each thread, used again and again."""

    def __init__(self) -> None:
        self._buffers: dict[torch.dtype, Tensor] = {}
        self._raw = torch.empty(0, dtype=torch.uint8)
        self._memory = bytes_of(self._raw)

    def like(self, tensor: Tensor, dtype: torch.dtype) -> Tensor:
        """Return a contiguous tensor of the same shape, valid until the next call with the same dtype."""
        buffer = self._buffers.get(dtype)
        if buffer is None or buffer.numel() < tensor.numel():
            buffer = self._buffers[dtype] = torch.empty(tensor.numel(), dtype=dtype)
        return buffer[: tensor.numel()].view(tensor.shape)

    def raw(self, shape: torch.Size, dtype: torch.dtype) -> tuple[Tensor, memoryview]:
        """Return a contiguous tensor and its bytes, both valid until the next call."""
        nbytes = shape.numel() * dtype.itemsize
        if len(self._raw) < nbytes:
            self._raw = torch.empty(nbytes, dtype=torch.uint8)
            self._memory = bytes_of(self._raw)
        return self._raw[:nbytes].view(dtype).view(shape), self._memory[:nbytes]


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


def _chunks(wanted: Tensor) -> Iterable[Tensor]:
    """Split a tensor into parts of about `_CHUNK` elements, in the order of a contiguous tensor of that shape."""
    if wanted.is_contiguous():
        return wanted.view(-1).split(_CHUNK)
    rows = max(1, _CHUNK * len(wanted) // wanted.numel())
    return wanted.split(rows)
