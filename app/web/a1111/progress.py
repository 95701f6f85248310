"""`/progress`, `/interrupt`, `/skip`: the requests of the client that asks, and of no other."""

import time
from typing import Annotated, Any

import msgspec
from litestar import Controller, Request, get, post
from litestar.params import QueryParameter
from msgspec import Meta

from ...domain.clock import steady_time
from ...domain.jobs.tracked_job import TrackedJob
from ..auth.requirements import requires
from ..http.clients import client_of
from ..http.errors.documented_errors import FOREIGN
from ..http.route_groups import in_group
from .dependencies import Remembered
from .done import Done
from .errors import WRONG
from .openapi import A1111Operation

_BEGUN = 0.01
"""Progress of a request that has made no step; 0 means that there is none."""


class A1111ProgressState(msgspec.Struct, frozen=True, kw_only=True):
    """The web UI's state."""

    skipped: bool = False
    interrupted: bool = False
    stopping_generation: bool = False
    job: str = ""
    job_count: int = 0
    job_timestamp: str = "0"
    job_no: int = 0
    sampling_step: int = 0
    sampling_steps: int = 0


class A1111Progress(msgspec.Struct, frozen=True, kw_only=True):
    """How far a request of the client is."""

    progress: Annotated[float, Meta(description="0 to 1; 0 if the client has no request.")]
    eta_relative: Annotated[float, Meta(description="Seconds that are left, as far as its own pace tells.")]
    state: A1111ProgressState
    current_image: Annotated[str, Meta(description="The unfinished image, a small JPEG, in base64.")] | None
    textinfo: Annotated[str, Meta(description="Why there is no step yet.")] | None


class ProgressController(Controller):
    """What runs."""

    path = "/sdapi/v1"
    tags = ("a1111",)
    opt = in_group("dialects") | requires("generate")

    @get(
        "/progress",
        opt=requires("generate", "read"),
        summary="Show the progress of the client's request",
        operation_id="a1111_progress",
        response_description="The progress.",
        operation_class=A1111Operation,
        responses={422: WRONG},
        sync_to_thread=False,
    )
    def show_progress(
        self,
        request: Request[Any, Any, Any],
        dialect_state: Remembered,
        skip_current_image: Annotated[bool, QueryParameter(description="Leave the image out.")] = False,
    ) -> A1111Progress:
        """Show how far the newest running request of this client is, with the unfinished image."""
        job = dialect_state.of(client_of(request)).shown
        if job is None:
            return A1111Progress(
                progress=0.0, eta_relative=0.0, state=A1111ProgressState(), current_image=None, textinfo=None
            )
        return _view(job, with_image=not skip_current_image)

    @post(
        "/interrupt",
        status_code=200,
        summary="Stop the client's requests",
        operation_id="a1111_interrupt",
        response_description="They will end after their next step.",
        responses={403: FOREIGN},
        sync_to_thread=False,
    )
    def interrupt(self, request: Request[Any, Any, Any], dialect_state: Remembered) -> Done:
        """End all requests of this client after their next step; they are answered with the images so far, the last unfinished.

        A request that makes no step yet is answered with an error.
        """
        for job in dialect_state.of(client_of(request)).jobs:
            job.end_early("request")
        return Done()

    @post(
        "/skip",
        status_code=200,
        summary="Stop the client's present image",
        operation_id="a1111_skip",
        response_description="It will end after its next step.",
        responses={403: FOREIGN},
        sync_to_thread=False,
    )
    def skip(self, request: Request[Any, Any, Any], dialect_state: Remembered) -> Done:
        """End the images that are being made of the request that `progress` shows; its next ones are begun."""
        if (job := dialect_state.of(client_of(request)).shown) is not None:
            job.end_early("images")
        return Done()


def _view(job: TrackedJob, *, with_image: bool) -> A1111Progress:
    done = job.steps_done / job.steps_total if job.steps_total else 0.0
    state = A1111ProgressState(
        job="scripts_txt2img",
        job_count=1,
        job_timestamp=time.strftime("%Y%m%d%H%M%S", time.gmtime(job.created)),
        sampling_step=job.steps_done,
        sampling_steps=job.steps_total,
    )
    return A1111Progress(
        progress=min(1.0, _BEGUN + done),
        eta_relative=job.remaining_s(steady_time()) or 0.0,
        state=state,
        current_image=_preview(job) if with_image else None,
        textinfo=_text(job),
    )


def _preview(job: TrackedJob) -> str | None:
    previews = [event for event in job.log.after(0) if event.kind == "preview"]
    return str(previews[-1].data["image"]) if previews else None


def _text(job: TrackedJob) -> str | None:
    if job.state == "loading":
        return f"Model {job.model} is being loaded."
    if job.state == "queued" and job.position is not None:
        return f"Waiting; {job.position} before it."
    return None
