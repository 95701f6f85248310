"""Reads the size of the memory that the process may use, without torch."""

import os
from pathlib import Path

from .cgroups import memory_limit_nbytes


def host_nbytes(root: Path = Path("/")) -> int:
    """Return the size of the machine's memory, or the limit of the container if that is less, in bytes.

    Args:
        root: of the file system; for tests.
    """
    machine = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    limit = memory_limit_nbytes(root)
    return machine if limit is None else min(machine, limit)
