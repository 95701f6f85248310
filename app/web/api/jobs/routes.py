"""`/jobs`: requests that are answered before they are done, and what can be asked about them."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from datetime import UTC, datetime
from typing import Annotated, Any

import msgspec
from litestar import Controller, Request, Response, delete, get, post
from litestar.di import NamedDependency
from litestar.openapi.datastructures import ResponseSpec
from litestar.openapi.spec import Example
from litestar.params import HeaderParameter, JSONBody, PathParameter, QueryParameter, SkipValidation
from litestar.response import ServerSentEvent, ServerSentEventMessage

from ....domain.dispatch.job import JobState
from ....domain.jobs.event_log import JobEvent
from ....domain.jobs.job_store import JobStore
from ....domain.jobs.record import JobQuery
from ....domain.jobs.tracked_job import TrackedJob
from ....domain.requests.parameters import GenerationParameters
from ...auth.requirements import requires
from ...generation_service import GenerationService
from ...http.bodies.body import JSONBodyDTO
from ...http.clients import owner_of
from ...http.errors.documented_errors import (
    BUSY,
    CONFLICT,
    EXPIRED,
    FOREIGN,
    NOT_JSON,
    TOO_LARGE,
    TOO_MANY,
    TOO_SLOW,
    UNKNOWN,
    UNKNOWN_JOB,
    UNUSABLE,
    WRONG_FIELDS,
    ModelNameInPath,
)
from ...http.errors.problems import problem_of
from ...http.route_groups import in_group, with_pictures
from ...log_facts import note_job
from ..images.generate_openapi import JobOperation
from .pages import next_page, place_in
from .views import JobResultView, JobView, job_result_view, job_url, job_view

IdempotencyKey = Annotated[
    str | None,
    HeaderParameter(
        name="Idempotency-Key",
        description="Of your choice. The same key and body join the work in flight, or get its answer.",
        min_length=1,
        max_length=200,
    ),
]
Prefer = Annotated[
    str,
    HeaderParameter(
        description="`respond-async` (RFC 7240): answer 202 at once, as `POST /jobs/{model_or_job}` does in any case."
    ),
]
_JobId = Annotated[
    str, PathParameter(description="Id of a job.", examples=[Example(summary="an id", value="0f8fad5bd9cb469fa165")])
]
_MODEL_OR_JOB = "{model_or_job:str}"
"""A model for POST, a job for the other methods. OpenAPI forbids two paths that differ in a parameter's name alone."""
_MAX_PAGE = 500
_Jobs = NamedDependency[SkipValidation[JobStore]]
_GONE = {400: WRONG_FIELDS, 404: UNKNOWN_JOB, 410: EXPIRED}


@post(
    f"/jobs/{_MODEL_OR_JOB}",
    status_code=202,
    dto=JSONBodyDTO[GenerationParameters],
    return_dto=None,
    operation_class=JobOperation,
    summary="Send a job",
    tags=["jobs"],
    opt=in_group("jobs") | requires("generate") | with_pictures(),
    responses={
        202: ResponseSpec(JobView, description="It is on its way; `Location` says where.", generate_examples=False),
        400: WRONG_FIELDS,
        403: FOREIGN,
        404: UNKNOWN,
        408: TOO_SLOW,
        409: CONFLICT,
        413: TOO_LARGE,
        415: NOT_JSON,
        422: UNUSABLE,
        429: TOO_MANY,
        503: BUSY,
    },
)
async def send_job(
    request: Request[Any, Any, Any],
    model_or_job: ModelNameInPath,
    data: JSONBody[GenerationParameters],
    generation: NamedDependency[SkipValidation[GenerationService]],
    idempotency_key: IdempotencyKey = None,
    prefer: Prefer = "",
) -> Response[JobView]:
    """Make images, and answer at once. What is wrong with the request is said now, what goes wrong later by the job."""
    job = await generation.send(request, model_or_job, data, idempotency_key=idempotency_key)
    return accepted(request, job, applied=prefers_async(prefer))


def prefers_async(prefer: str) -> bool:
    """RFC 7240: several preferences, with commas between them."""
    return any(preference.split(";")[0].strip().lower() == "respond-async" for preference in prefer.split(","))


def accepted(request: Request[Any, Any, Any], job: TrackedJob, *, applied: bool) -> Response[JobView]:
    """Accept the job (202) and return its address.

    Args:
        request: what is answered.
        job: which it became.
        applied: whether that is because the client preferred it.
    """
    headers = {"location": job_url(request, job.id)}
    if applied:
        headers["preference-applied"] = "respond-async"
    return Response(job_view(request, job), status_code=202, headers=headers)


class JobsController(Controller):
    """What can be asked about jobs."""

    path = "/jobs"
    tags = ("jobs",)
    opt = in_group("jobs") | requires("generate")

    @get(
        "/",
        opt=requires("generate", "read"),
        summary="List jobs",
        responses={
            200: ResponseSpec(
                list[JobView],
                description='The newest first. If there may be more, the header `Link` has the next page (`rel="next"`).',
                generate_examples=False,
            ),
            400: WRONG_FIELDS,
        },
    )
    async def list_jobs(
        self,
        request: Request[Any, Any, Any],
        job_store: _Jobs,
        in_state: Annotated[
            JobState | None, QueryParameter(name="state", description="Only those in this state.")
        ] = None,
        of_model: Annotated[
            str | None, QueryParameter(name="model", description="Only those of this model.", max_length=256)
        ] = None,
        with_prompt: Annotated[
            str | None,
            QueryParameter(name="prompt", description="Only those whose prompt contains this text.", max_length=256),
        ] = None,
        created_from: Annotated[
            datetime | None, QueryParameter(description="Only those that were sent at this moment or later (UTC).")
        ] = None,
        created_before: Annotated[
            datetime | None, QueryParameter(description="Only those that were sent before this moment (UTC).")
        ] = None,
        limit: Annotated[int, QueryParameter(description="Most jobs of a page.", ge=1, le=_MAX_PAGE)] = 100,
        after: Annotated[
            str | None,
            QueryParameter(description="Where the page before ended: see the header `Link`.", max_length=200),
        ] = None,
    ) -> Response[list[JobView]]:
        """List the jobs of the client that have not expired, without their images; all jobs for keys with the scope `admin`."""
        query = JobQuery(
            owner=owner_of(request),
            state=in_state,
            model=of_model,
            prompt=with_prompt,
            created_from=_seconds(created_from),
            created_before=_seconds(created_before),
            after=None if after is None else place_in(after),
            limit=limit,
        )
        jobs = await job_store.page(query)
        return Response([job_view(request, job) for job in jobs], headers=next_page(request, jobs, limit))

    @get(
        f"/{_MODEL_OR_JOB}",
        opt=requires("generate", "read"),
        summary="Show a job",
        response_description="The job.",
        responses=_GONE,
    )
    async def show_job(self, request: Request[Any, Any, Any], model_or_job: _JobId, job_store: _Jobs) -> JobResultView:
        """Show a job's state and progress, and its images once it is done."""
        return job_result_view(request, await job_store.get(model_or_job, owner_of(request), with_result=True))

    @delete(
        f"/{_MODEL_OR_JOB}",
        status_code=200,
        summary="Cancel a job",
        response_description="The job as it ended.",
        responses={403: FOREIGN, **_GONE},
    )
    async def cancel_job(self, request: Request[Any, Any, Any], model_or_job: _JobId, job_store: _Jobs) -> JobView:
        """End it before its next step; one that has ended is forgotten, with its images."""
        return job_view(request, await job_store.cancel(model_or_job, owner_of(request)))

    @get(
        f"/{_MODEL_OR_JOB}/events",
        opt=requires("generate", "read"),
        summary="Follow a job",
        responses={
            200: ResponseSpec(
                str,
                media_type="text/event-stream",
                description="`queued`, `loading`, `step`, `preview`, and at the end `done`, `failed` or `cancelled`.",
                generate_examples=False,
            ),
            204: ResponseSpec(None, description="`Last-Event-ID` was the last one: a browser asks no more."),
            **_GONE,
        },
    )
    async def follow_job(
        self,
        request: Request[Any, Any, Any],
        model_or_job: _JobId,
        job_store: _Jobs,
        keep_alive_s: NamedDependency[SkipValidation[float]],
        last_event_id: Annotated[
            int, HeaderParameter(name="Last-Event-ID", description="The last event that you know of.", ge=0)
        ] = 0,
    ) -> Response[Any]:
        """Server-sent events, from the first that is still known, or from the one after `Last-Event-ID`."""
        job = await job_store.get(model_or_job, owner_of(request))
        note_job(request, job)
        if job.over and not job.log.after(last_event_id):
            return Response(None, status_code=204)
        return ServerSentEvent(_events(job_store, job, job_url(request, job.id), last_event_id, keep_alive_s))


def _seconds(moment: datetime | None) -> float | None:
    """Return the seconds since the epoch of a moment, which is in UTC if it does not say otherwise."""
    if moment is None:
        return None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


async def _events(
    jobs: JobStore, job: TrackedJob, url: str, after: int, keep_alive_s: float
) -> AsyncGenerator[ServerSentEventMessage]:
    async with aclosing(jobs.follow(job, after, idle_s=keep_alive_s)) as events:
        async for event in events:
            if event is None:
                yield ServerSentEventMessage(data=None, comment="still here")
            else:
                data = msgspec.json.encode(_data(event, job, url)).decode()
                yield ServerSentEventMessage(event=event.kind, id=event.id, data=data)
            await asyncio.sleep(0)


def _data(event: JobEvent, job: TrackedJob, url: str) -> Any:
    """Return the data of an event; the last one says where the images are, or why there are none."""
    if event.kind == "done":
        return {**event.data, "url": url}
    return problem_of(job.failure) if event.kind == "failed" and job.failure is not None else event.data
