"""Work that must run to its end even if the task that waits for it is cancelled."""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

_T = TypeVar("_T")


async def run_to_completion(work: Coroutine[Any, Any, _T]) -> _T:
    """Await work that must not be cancelled, and return its result.

    If the waiting task is cancelled, the cancellation is raised only after the work has ended, so that the ledger has counted
    the bytes that it moved.
    """
    task = asyncio.ensure_future(work)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        if not task.done():
            await _ended(task)
        # The cancellation hides the outcome of the work; asyncio would report its error as never retrieved.
        consume_exception(task)
        raise


async def _ended(task: asyncio.Task[Any]) -> None:
    """Wait for a task and ignore cancellations of the waiting task."""
    while not task.done():
        try:
            await asyncio.wait([task])
        except asyncio.CancelledError:
            continue


def consume_exception(task: asyncio.Future[Any]) -> None:
    """Mark the error of a task as seen, because it may fail after its last waiter has left. For `add_done_callback`."""
    if not task.cancelled():
        task.exception()
