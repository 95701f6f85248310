"""Pages of memory that are wanted at once, without the interpreter's lock: `mmap.madvise` would hold it for seconds."""

import ctypes
import mmap
import sys
from collections.abc import Callable
from functools import cache

from torch import Tensor

_MADV_POPULATE_READ = 22
_MADV_POPULATE_WRITE = 23
"""Of Linux 5.14 and later; `mmap` names neither."""


def have_pages(tensor: Tensor, *, of_file: bool = False) -> bool:
    """Have the pages that a dense tensor lies in. One that comes in the middle of a read or a cast costs twice as much.

    Args:
        tensor: in memory that was mapped; what shares its first and last page comes along.
        of_file: they are only read, from a mapped file.

    Returns:
        Whether the system could be asked for them; otherwise they come when they are touched.
    """
    advise = _madvise()
    if advise is None or not tensor.nbytes:
        return False
    begin = tensor.data_ptr() & -mmap.PAGESIZE
    advice = _MADV_POPULATE_READ if of_file else _MADV_POPULATE_WRITE
    return advise(begin, tensor.data_ptr() + tensor.nbytes - begin, advice) == 0


@cache
def _madvise() -> Callable[[int, int, int], int] | None:
    if sys.platform != "linux":
        return None
    advise = ctypes.CDLL(None).madvise
    advise.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
    advise.restype = ctypes.c_int
    return advise
