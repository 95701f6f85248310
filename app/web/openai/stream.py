"""Streams a job as OpenAI's image events."""

import asyncio
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing, suppress
from typing import Any

import msgspec
from litestar import Request
from litestar.response import ServerSentEvent, ServerSentEventMessage

from ...domain.errors import DiffusionError
from ...domain.generator import Generated
from ...domain.jobs.job_store import JobStore
from ...domain.jobs.tracked_job import TrackedJob
from ..http.problems import id_in, problem_of
from ..log_facts import note_generation
from .answers import completed_events, partial_event
from .errors import error_answer
from .wire import ImagesBody

_KEEP_ALIVE = "keepalive"


def image_stream(
    request: Request[Any, Any, Any],
    body: ImagesBody,
    job: TrackedJob,
    jobs: JobStore,
    keep_alive_s: float,
    headers: Mapping[str, str],
) -> ServerSentEvent:
    """Answer with the events of a job. If the client goes away, the job ends, unless another waits for it."""
    # Begun here and not in the generator: it counts as a waiter from now on, also if the stream is never read.
    waiting = asyncio.ensure_future(jobs.result(job))
    return ServerSentEvent(_events(request, body, job, waiting, keep_alive_s), headers=dict(headers))


async def _events(
    request: Request[Any, Any, Any],
    body: ImagesBody,
    job: TrackedJob,
    waiting: "asyncio.Future[Generated]",
    keep_alive_s: float,
) -> AsyncGenerator[ServerSentEventMessage]:
    try:
        async with aclosing(_partial(body, job, keep_alive_s)) as partial:
            async for message in partial:
                yield message
        generated = await waiting
        note_generation(request, generated)
        for data in await completed_events(body, generated):
            yield _message("image_generation.completed", data)
    except DiffusionError as error:
        problem = problem_of(error, id_in(request.scope))
        yield _message("error", msgspec.json.encode(error_answer(problem)))
    finally:
        waiting.cancel()
        with suppress(asyncio.CancelledError, DiffusionError):
            await waiting
    yield ServerSentEventMessage(data="[DONE]")


async def _partial(body: ImagesBody, job: TrackedJob, keep_alive_s: float) -> AsyncGenerator[ServerSentEventMessage]:
    """Yield as many unfinished images as were asked for, spread over the steps, and comments until the job's end."""
    wanted, shown = body.partial_images or 0, 0
    async with aclosing(job.log.follow(idle_s=keep_alive_s)) as events:
        async for event in events:
            if event is None:
                yield ServerSentEventMessage(data=None, comment=_KEEP_ALIVE)
            elif event.kind == "preview" and shown < wanted and _due(event.data, shown, wanted):
                size = f"{event.data['width']}x{event.data['height']}"
                yield _message("image_generation.partial_image", partial_event(body, event, shown, size))
                shown += 1


def _due(data: Mapping[str, Any], shown: int, wanted: int) -> bool:
    """Tell whether it is time for the next of the unfinished images: they divide the steps into equal parts."""
    return data["done"] >= data["total"] * (shown + 1) / (wanted + 1) - 1


def _message(kind: str, data: bytes) -> ServerSentEventMessage:
    return ServerSentEventMessage(event=kind, data=data.decode())
