"""Work that must run to its end whatever becomes of those who wait for it."""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

_T = TypeVar("_T")


async def run_to_completion(work: Coroutine[Any, Any, _T]) -> _T:
    """Await work of the engine that must not be abandoned half-way.

    When the waiting task is cancelled, the work is first awaited to its end, so that what it moved is on the books; then
    the cancellation goes on its way.
    """
    task = asyncio.ensure_future(work)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        if not task.done():
            await _ended(task)
        if not task.cancelled():
            task.exception()
        raise


async def _ended(task: asyncio.Task[Any]) -> None:
    """Wait for a task through any number of further cancellations."""
    while not task.done():
        try:
            await asyncio.wait([task])
        except asyncio.CancelledError:
            continue


def consume_exception(task: asyncio.Future[Any]) -> None:
    """For `add_done_callback`: a shared task may fail after everybody who waited for it has gone."""
    if not task.cancelled():
        task.exception()
