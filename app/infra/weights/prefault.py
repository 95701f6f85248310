"""Pages of memory that are wanted at once, without the interpreter's lock: `mmap.madvise` would hold it for seconds."""

import ctypes
import mmap
import sys
import threading
import time
from collections.abc import Callable
from functools import cache

from torch import Tensor

_MADV_DONTNEED = 4
_MADV_POPULATE_READ = 22
_MADV_POPULATE_WRITE = 23
"""Of Linux 5.14 and later; `mmap` names neither."""
_PIECE_NBYTES = 1 << 23, 1 << 25
"""The least and the most of which pages are had at once."""
_PIECE_S = 0.005
"""A piece that took less is followed by a larger one, because between two the thread may wait as long for the interpreter's lock;
one that took more by the smallest, because as long as it takes, whoever else wants memory from the system waits."""


class PrefaultBuffer:
    """Memory whose pages are had by as many threads as call `have_pages`, each of them a piece at a time.

    A virtual machine's host may supply 0.3 GB a second or 7, so the size of a piece follows what the last one took.
    """

    def __init__(self, memory: Tensor) -> None:
        self._rest = memory
        self._lock = threading.Lock()

    def prefault(self) -> None:
        """Return when no piece is left, or when the system cannot be asked."""
        nbytes, most = _PIECE_NBYTES
        while len(piece := self._next(nbytes)):
            begun = time.thread_time()
            if not prefault(piece):
                return
            took = time.thread_time() - begun
            nbytes = min(nbytes * 2, most) if took < _PIECE_S else _PIECE_NBYTES[0]

    def _next(self, nbytes: int) -> Tensor:
        with self._lock:
            piece, self._rest = self._rest[:nbytes], self._rest[nbytes:]
        return piece


def prefault(tensor: Tensor, *, of_file: bool = False) -> bool:
    """Have the pages that a dense tensor lies in. One that comes in the middle of a read or a cast costs twice as much.

    Args:
        tensor: in memory that was mapped; what shares its first and last page comes along.
        of_file: they are only read, from a mapped file.

    Returns:
        Whether the system could be asked for them; otherwise they come when they are touched.
    """
    return _advised(tensor, _MADV_POPULATE_READ if of_file else _MADV_POPULATE_WRITE)


def leave_pages(tensor: Tensor) -> None:
    """Give back the pages of a mapped file that a tensor lies in; they stay in the system's cache. Not for other memory."""
    _advised(tensor, _MADV_DONTNEED)


def _advised(tensor: Tensor, advice: int) -> bool:
    advise = _madvise()
    if advise is None or not tensor.nbytes:
        return False
    begin = tensor.data_ptr() & -mmap.PAGESIZE
    return advise(begin, tensor.data_ptr() + tensor.nbytes - begin, advice) == 0


@cache
def _madvise() -> Callable[[int, int, int], int] | None:
    if sys.platform != "linux":
        return None
    advise = ctypes.CDLL(None).madvise
    advise.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
    advise.restype = ctypes.c_int
    return advise
