"""Runs blocking work on the folder of jobs in worker threads."""

import asyncio
from collections.abc import Callable
from typing import ParamSpec, TypeVar

from ...domain.errors import StorageUnavailable

_P = ParamSpec("_P")
_T = TypeVar("_T")


async def on_disk(work: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> _T:
    """Return the result of blocking work.

    Raises:
        StorageUnavailable: it raised an `OSError`: the disk is full, or the process has no file descriptor left.
    """
    try:
        return await asyncio.to_thread(work, *args, **kwargs)
    except OSError as error:
        # Clients see the message, which therefore names no path.
        raise StorageUnavailable(
            f"The folder of jobs (jobs.directory) cannot be read or written now: {error.strerror}. Try again later."
        ) from error
