"""`/jobs`: requests that are answered before they are done, and what can be asked about them."""

import asyncio
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from typing import Annotated, Any

import msgspec
from litestar import Controller, Request, Response, delete, get, post
from litestar.di import NamedDependency
from litestar.openapi.datastructures import ResponseSpec
from litestar.openapi.spec import Example
from litestar.params import HeaderParameter, JSONBody, PathParameter, QueryParameter, SkipValidation
from litestar.response import ServerSentEvent, ServerSentEventMessage

from ..domain.generation import GenerationParameters
from ..domain.generator import ImageGenerator
from ..domain.job_board import JobBoard
from ..domain.tracked_job import TrackedJob, TrackedState
from .body import Posted, PostedDTO
from .clients import client_of
from .generate_operation import JobOperation
from .job_views import JobResultView, JobView, job_result_view, job_url, job_view
from .responses import (
    BUSY,
    CONFLICT,
    EXPIRED,
    FOREIGN,
    NOT_JSON,
    TOO_LARGE,
    TOO_MANY,
    UNKNOWN,
    UNKNOWN_JOB,
    WRONG_FIELDS,
    ModelNameInPath,
)

IdempotencyKey = Annotated[
    str | None,
    HeaderParameter(
        name="Idempotency-Key",
        description="Of your choice. The same key and body join the work in flight, or get its answer.",
        max_length=200,
    ),
]
_JobId = Annotated[
    str, PathParameter(description="Id of a job.", examples=[Example(summary="an id", value="0f8fad5bd9cb469fa165")])
]
_Board = NamedDependency[SkipValidation[JobBoard]]
_GONE = {404: UNKNOWN_JOB, 410: EXPIRED}


@post(
    "/jobs/{model_name:str}",
    status_code=202,
    dto=PostedDTO[GenerationParameters],
    return_dto=None,
    operation_class=JobOperation,
    summary="Send a job",
    tags=["jobs"],
    responses={
        202: ResponseSpec(JobView, description="It is on its way; `Location` says where.", generate_examples=False),
        400: WRONG_FIELDS,
        403: FOREIGN,
        404: UNKNOWN,
        409: CONFLICT,
        413: TOO_LARGE,
        415: NOT_JSON,
        429: TOO_MANY,
        503: BUSY,
    },
)
async def send_job(
    request: Request[Any, Any, Any],
    model_name: ModelNameInPath,
    data: JSONBody[Posted[GenerationParameters]],
    image_generator: NamedDependency[SkipValidation[ImageGenerator]],
    job_board: _Board,
    idempotency_key: IdempotencyKey = None,
) -> Response[JobView]:
    """Make images, and answer at once. What is wrong with the request is said now, what goes wrong later by the job."""
    if data.errors:
        image_generator.check(model_name, data.value, data.errors)
    job = job_board.post(model_name, data.value, client=client_of(request), key=idempotency_key)
    return accepted(request, job)


def accepted(
    request: Request[Any, Any, Any], job: TrackedJob, headers: Mapping[str, str] | None = None
) -> Response[JobView]:
    """202, and where the job can be asked for."""
    everything = {"location": job_url(request, job.id), **(headers or {})}
    return Response(job_view(request, job), status_code=202, headers=everything)


class JobsController(Controller):
    """What can be asked about jobs."""

    path = "/jobs"
    tags = ("jobs",)

    @get("/", summary="List jobs", response_description="The newest first.", sync_to_thread=False)
    def list_jobs(
        self,
        request: Request[Any, Any, Any],
        job_board: _Board,
        in_state: Annotated[
            TrackedState | None, QueryParameter(name="state", description="Only those in this state.")
        ] = None,
    ) -> list[JobView]:
        """Every job that has not expired, without its images."""
        return [job_view(request, job) for job in job_board.all(in_state)]

    @get("/{job_id:str}", summary="Show a job", response_description="The job.", responses=_GONE, sync_to_thread=False)
    def show_job(self, request: Request[Any, Any, Any], job_id: _JobId, job_board: _Board) -> JobResultView:
        """Its state and progress; once it is done, its images."""
        return job_result_view(request, job_board.get(job_id))

    @delete(
        "/{job_id:str}",
        status_code=200,
        summary="Cancel a job",
        response_description="The job as it ended.",
        responses={403: FOREIGN, **_GONE},
    )
    async def cancel_job(self, request: Request[Any, Any, Any], job_id: _JobId, job_board: _Board) -> JobView:
        """End it before its next step; one that has ended is forgotten, with its images."""
        return job_view(request, await job_board.cancel(job_id))

    @get(
        "/{job_id:str}/events",
        summary="Follow a job",
        response_description="`queued`, `loading`, `step`, `preview`, and at the end `done`, `failed` or `cancelled`.",
        responses=_GONE,
    )
    async def follow_job(
        self,
        job_id: _JobId,
        job_board: _Board,
        keep_alive_s: NamedDependency[SkipValidation[float]],
        last_event_id: Annotated[
            int, HeaderParameter(name="Last-Event-ID", description="The last event that you know of.", ge=0)
        ] = 0,
    ) -> ServerSentEvent:
        """Server-sent events, from the first that is still known, or from the one after `Last-Event-ID`."""
        return ServerSentEvent(_events(job_board.get(job_id), last_event_id, keep_alive_s))


async def _events(job: TrackedJob, after: int, keep_alive_s: float) -> AsyncGenerator[ServerSentEventMessage]:
    async with aclosing(job.log.follow(after, idle_s=keep_alive_s)) as events:
        async for event in events:
            if event is None:
                yield ServerSentEventMessage(data=None, comment="still here")
            else:
                data = msgspec.json.encode(event.data).decode()
                yield ServerSentEventMessage(event=event.kind, id=event.id, data=data)
            await asyncio.sleep(0)
