"""Jobs as they go over the wire."""

from datetime import UTC, datetime
from typing import Annotated, Any
from urllib.parse import quote

import msgspec
from litestar import Request
from msgspec import Meta

from ....domain.clock import steady_time
from ....domain.dispatch.job import JobState
from ....domain.jobs.tracked_job import TrackedJob
from ...http.errors.problems import Problem, problem_of
from ..views import GenerateView, ProgressView, generate_view, progress_view


class JobView(msgspec.Struct, frozen=True, kw_only=True):
    """One job, without its images."""

    id: str
    model: str
    prompt: str
    state: Annotated[
        JobState,
        Meta(description="`queued`, `loading` its model, `running`; at the end `done`, `failed` or `cancelled`."),
    ]
    url: Annotated[str, Meta(description="Where it can be asked for.")]
    position: Annotated[int | None, Meta(description="How many jobs are before it, while it waits.")]
    steps_done: int
    steps_total: Annotated[int, Meta(description="Of the denoiser, for all images; 0 before it is known.")]
    loading: Annotated[ProgressView | None, Meta(description="How far the load of its model is.")]
    remaining_s: Annotated[float | None, Meta(description="Until it is done, as far as its own pace tells.")]
    image_urls: Annotated[
        list[str], Meta(description="Addresses of its images once it is done, in order; `?width=` makes smaller ones.")
    ]
    restarts: Annotated[
        int, Meta(description="How often it was begun again because its server had ended while it ran; usually 0.")
    ]
    created: datetime
    started: datetime | None
    ended: datetime | None


class JobResultView(JobView, frozen=True, kw_only=True):
    """One job, with what came of it."""

    result: Annotated[GenerateView | None, Meta(description="What `POST /generate` would have answered.")]
    problem: Annotated[Problem | None, Meta(description="Why there is no result, if the job failed or was cancelled.")]


def job_view(request: Request[Any, Any, Any], job: TrackedJob) -> JobView:
    """Format a job for a list."""
    return JobView(**_facts(request, job))


def job_result_view(request: Request[Any, Any, Any], job: TrackedJob) -> JobResultView:
    """Format a single job with its images."""
    return JobResultView(
        **_facts(request, job),
        result=generate_view(job.result) if job.result is not None else None,
        problem=problem_of(job.failure) if job.failure is not None else None,
    )


def job_url(request: Request[Any, Any, Any], job_id: str) -> str:
    """Return the address of a job, with the prefix that the routes are mounted under and the values of its parameters."""
    root, template = request.scope.get("root_path", "").rstrip("/"), str(request.scope["path_template"])
    mounted = template[: max(template.rfind("/jobs"), template.rfind("/generate/"))]  # the last is our own
    parts = request.scope["path"].split("/")[: mounted.count("/") + 1]  # a parameter takes one part of a path
    return f"{root}{quote('/'.join(parts))}/jobs/{job_id}"


def _facts(request: Request[Any, Any, Any], job: TrackedJob) -> dict[str, Any]:
    remaining = job.remaining_s(steady_time())
    url = job_url(request, job.id)
    return {
        "id": job.id,
        "model": job.model,
        "prompt": job.prompt,
        "state": job.state,
        "url": url,
        "image_urls": [f"{url}/images/{index}" for index in range(len(job.seeds))],
        "position": job.position,
        "steps_done": job.steps_done,
        "steps_total": job.steps_total,
        "loading": progress_view(job.loading),
        "remaining_s": None if remaining is None else round(remaining, 2),
        "restarts": job.restarts,
        "created": _moment(job.created),
        "started": _moment(job.started),
        "ended": _moment(job.ended),
    }


def _moment(seconds: float | None) -> datetime | None:
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC)
