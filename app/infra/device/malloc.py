"""Settings of the C library's heap, which torch allocates a CPU's activations from."""

import ctypes
import gc
import sys
from typing import Any

_M_TRIM_THRESHOLD = -1
_M_MMAP_THRESHOLD = -3
_M_ARENA_MAX = -8
_KEPT_NBYTES = 2**31 - 1
"""Largest value of glibc's thresholds: smaller blocks are kept when freed, and as much free memory at the top of the heap."""


def keep_freed_memory() -> None:
    """Make glibc keep freed memory for the next allocation. Does nothing if the C library is not glibc.

    By default glibc returns every large block to the system at once, and the kernel clears each page that it hands out again:
    a fifth of the time of a large VAE. Call this before the process starts threads, because the heaps of other threads are too
    small for large blocks, and only in a process that is not shared with a host application. The same from outside:
    MALLOC_ARENA_MAX=1 MALLOC_MMAP_THRESHOLD_=2147483647 MALLOC_TRIM_THRESHOLD_=2147483647.
    """
    library = _glibc()
    if library is not None:
        library.mallopt(_M_ARENA_MAX, 1)
        library.mallopt(_M_MMAP_THRESHOLD, _KEPT_NBYTES)
        library.mallopt(_M_TRIM_THRESHOLD, _KEPT_NBYTES)


def give_back_freed_memory() -> None:
    """Return freed memory to the system. May be called from any thread; takes milliseconds."""
    library = _glibc()
    if library is not None:
        library.malloc_trim(0)


def give_back_memory_of_requests() -> None:
    """Free what requests that have ended left in circles of references, and return freed memory to the system.

    Tracebacks of cancelled tasks are such circles, and hold the uploads of their requests until the interpreter's next full
    collection, which may be an hour away. Holds the interpreter for milliseconds, because imported modules are frozen.
    """
    gc.collect()
    give_back_freed_memory()


def _glibc() -> Any:
    """Return the C library of this process if it is glibc."""
    if sys.platform != "linux":
        return None
    library = ctypes.CDLL(None)
    return library if hasattr(library, "gnu_get_libc_version") else None
