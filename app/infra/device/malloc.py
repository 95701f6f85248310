"""The C library's heap, which is where torch has a CPU's activations."""

import ctypes
import sys
from typing import Any

_M_TRIM_THRESHOLD = -1
_M_MMAP_THRESHOLD = -3
_M_ARENA_MAX = -8
_KEPT_NBYTES = 2**31 - 1
"""As much as glibc can be told: blocks so large are kept, and so much at the top of the heap."""


def keep_freed_memory() -> None:
    """Have the process keep memory that was freed, for what is allocated next. Nothing where the C library is not glibc.

    glibc gives every large block back at once, and fresh pages cost more than most of what torch does with them: a fifth of
    the time that a large VAE takes. Call it before there are other threads, whose heaps would be too small for large blocks,
    and only in a process of one's own. The same from outside: MALLOC_ARENA_MAX=1 MALLOC_MMAP_THRESHOLD_=2147483647
    MALLOC_TRIM_THRESHOLD_=2147483647.
    """
    library = _glibc()
    if library is not None:
        library.mallopt(_M_ARENA_MAX, 1)
        library.mallopt(_M_MMAP_THRESHOLD, _KEPT_NBYTES)
        library.mallopt(_M_TRIM_THRESHOLD, _KEPT_NBYTES)


def give_back_freed_memory() -> None:
    """Give what was freed, and is not used again yet, back to the system. Any thread; takes milliseconds."""
    library = _glibc()
    if library is not None:
        library.malloc_trim(0)


def _glibc() -> Any:
    """The C library of this process, if it is glibc."""
    if sys.platform != "linux":
        return None
    library = ctypes.CDLL(None)
    return library if hasattr(library, "gnu_get_libc_version") else None
