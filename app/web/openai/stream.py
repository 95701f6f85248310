"""Streams a job as OpenAI's image events."""

import asyncio
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from typing import Any

import msgspec
from litestar import Request
from litestar.background_tasks import BackgroundTask
from litestar.response import ServerSentEvent, ServerSentEventMessage

from ...domain.errors import DiffusionError
from ...domain.generator import Generated
from ...domain.jobs.job_store import JobStore
from ...domain.jobs.tracked_job import TrackedJob
from ..http.errors.problems import id_in, problem_of
from ..log_facts import note_generation
from .answers import completed_events, partial_event, warnings_header
from .errors import error_answer
from .wire import ImagesBody

_KEEP_ALIVE = "keepalive"


def image_stream(
    request: Request[Any, Any, Any],
    body: ImagesBody,
    job: TrackedJob,
    jobs: JobStore,
    keep_alive_s: float,
    warnings: Sequence[str],
) -> ServerSentEvent:
    """Answer with the events of a job. If the client goes away, the job ends, unless another waits for it.

    Args:
        request: to answer.
        body: of the request.
        job: that makes its images.
        jobs: store of the job.
        keep_alive_s: seconds between two comments while nothing happens.
        warnings: what was ignored of the body.
    """
    # Begun here and not in the generator, so that the job has this waiter before another one can leave it.
    waiting = jobs.waiting(job)
    return ServerSentEvent(
        _events(request, body, job, waiting, keep_alive_s, warnings),
        headers=warnings_header(warnings),
        # The generator of a client that has gone before the answer begins is never started, and so never ended.
        background=BackgroundTask(_leave, waiting),
    )


async def _leave(waiting: "asyncio.Task[Generated]") -> None:
    waiting.cancel()


async def _events(
    request: Request[Any, Any, Any],
    body: ImagesBody,
    job: TrackedJob,
    waiting: "asyncio.Task[Generated]",
    keep_alive_s: float,
    warnings: Sequence[str],
) -> AsyncGenerator[ServerSentEventMessage]:
    try:
        async with aclosing(_partial(body, job, keep_alive_s)) as partial:
            async for message in partial:
                yield message
        generated = await waiting
        note_generation(request, generated)
        for data in await completed_events(body, generated, warnings):
            yield _message(f"{body.events}.completed", data)
    except DiffusionError as error:
        problem = problem_of(error, id_in(request.scope))
        yield _message("error", msgspec.json.encode(error_answer(problem)))
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
                yield _message(f"{body.events}.partial_image", partial_event(body, event, shown, size))
                shown += 1


def _due(data: Mapping[str, Any], shown: int, wanted: int) -> bool:
    """Tell whether it is time for the next of the unfinished images: they divide the steps into equal parts."""
    return data["done"] >= data["total"] * (shown + 1) / (wanted + 1) - 1


def _message(kind: str, data: bytes) -> ServerSentEventMessage:
    return ServerSentEventMessage(event=kind, data=data.decode())
