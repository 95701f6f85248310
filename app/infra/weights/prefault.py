"""Populates pages of memory without the interpreter's lock, which `mmap.madvise` would hold for seconds."""

import ctypes
import mmap
import sys
import threading
import time
from collections.abc import Callable
from functools import cache

from torch import Tensor

_MADV_POPULATE_WRITE = 23
"""Advice of Linux 5.14 and later, which the module `mmap` does not name."""
_PIECE_NBYTES = 1 << 23, 1 << 25
"""Smallest and largest range populated per call, in bytes."""
_PIECE_S = 0.005
"""Time of a call, in seconds, up to which the next range is twice as large, because between two calls the thread may wait for the
interpreter's lock as long as that. After a longer call the next range is the smallest, because other threads that ask the system
for memory wait until a call returns."""


class PrefaultBuffer:
    """Memory whose pages several threads populate together, each a range at a time.

    The host of a virtual machine may supply 0.3 GB a second or 7, so the size of a range follows the time of the last call.
    """

    def __init__(self, memory: Tensor) -> None:
        self._rest = memory
        self._lock = threading.Lock()

    def prefault(self) -> None:
        """Populate range after range, until none is left or the system cannot be asked."""
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


def prefault(tensor: Tensor) -> bool:
    """Populate the pages of a dense tensor. A page fault in the middle of a read or a cast costs twice as much.

    Args:
        tensor: in memory that was mapped; its first and its last page are populated whole.

    Returns:
        Whether the system supports it. If not, pages are populated by their first use.
    """
    advise = _madvise()
    if advise is None or not tensor.nbytes:
        return False
    begin = tensor.data_ptr() & -mmap.PAGESIZE
    return advise(begin, tensor.data_ptr() + tensor.nbytes - begin, _MADV_POPULATE_WRITE) == 0


@cache
def _madvise() -> Callable[[int, int, int], int] | None:
    # ctypes releases the interpreter's lock during a call.
    if sys.platform != "linux":
        return None
    advise = ctypes.CDLL(None).madvise
    advise.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
    advise.restype = ctypes.c_int
    return advise
