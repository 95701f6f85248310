"""Runs decoded requests for connections: identifies the client, joins repeated requests, stops work of clients that left.

Every dialect uses it: decode a body, call this service, encode the result.
"""

import asyncio
from collections.abc import Coroutine
from dataclasses import dataclass
from typing import Any, TypeVar

from litestar import Request

from ..domain.dispatch.job import gone_away
from ..domain.dry_run import DryRunResult, DryRuns
from ..domain.errors import FieldError, InvalidRequest
from ..domain.generator import Generated, ImageGenerator
from ..domain.jobs.idempotency_keys import Join
from ..domain.jobs.job_store import JobStore
from ..domain.jobs.shared_calls import SharedCalls
from ..domain.jobs.tracked_job import TrackedJob
from ..domain.jobs.webhooks.webhook import WebhookPolicy, wrong_callback
from ..domain.requests.parameters import GenerationParameters
from ..domain.requests.request_digest import request_digest
from ..domain.requests.upscaling.upscale_parameters import UpscaleParameters
from ..domain.upscaling import ImageUpscaler, Upscaled
from .auth.admission import Admission
from .http.clients import client_of
from .http.errors.problems import id_in
from .log_facts import note_generation, note_job, note_upscaling

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True, kw_only=True)
class GenerationService:
    """Runs requests for connections. All methods raise errors of the domain; a dialect encodes them."""

    generator: ImageGenerator
    jobs: JobStore
    dry_runs: DryRuns
    upscaler: ImageUpscaler
    upscale_calls: SharedCalls[Upscaled]
    admission: Admission
    webhooks: WebhookPolicy

    async def generate(
        self,
        request: Request[Any, Any, Any],
        model: str,
        parameters: GenerationParameters,
        *,
        idempotency_key: str | None = None,
        join: Join = "always",
        linger_s: float = 0,
    ) -> Generated:
        """Make images and wait for them; stop if the client disconnects.

        Args:
            request: connection that waits.
            model: name of a catalogue entry.
            parameters: what to make.
            idempotency_key: joins work of the same client with the same key and parameters.
            join: which work of the same key is joined.
            linger_s: seconds that work with a key continues after its last client has gone, for one that comes back.
        """
        _refuse_callback(parameters, _NO_JOB)
        client, admit = client_of(request), await self.admission.of(request, model, parameters)
        if idempotency_key is None:
            admit()
            work = self.generator.generate(model, parameters, job_id=id_in(request.scope), client=client)
        else:
            work = self.jobs.run(
                model, parameters, client=client, key=idempotency_key, join=join, linger_s=linger_s, admit=admit
            )
        generated = await _unless_gone(request, work)
        note_generation(request, generated)
        return generated

    async def upscale(
        self, request: Request[Any, Any, Any], parameters: UpscaleParameters, *, idempotency_key: str | None = None
    ) -> Upscaled:
        """Enlarge a picture and wait for it; stop if the client disconnects.

        Args:
            request: connection that waits.
            parameters: what to do.
            idempotency_key: joins work of the same client with the same key and parameters.
        """
        self.admission.of_upscaling(request)
        client = client_of(request)

        def work() -> Coroutine[Any, Any, Upscaled]:
            return self.upscaler.upscale(parameters, job_id=id_in(request.scope), client=client)

        if idempotency_key is None:
            upscaling = work()
        else:
            body = await request_digest(parameters)
            upscaling = self.upscale_calls.run(client, idempotency_key, body, work)
        upscaled = await _unless_gone(request, upscaling)
        note_upscaling(request, upscaled)
        return upscaled

    async def send(
        self,
        request: Request[Any, Any, Any],
        model: str,
        parameters: GenerationParameters,
        *,
        idempotency_key: str | None = None,
        join: Join = "always",
        detached: bool = True,
    ) -> TrackedJob:
        """Queue a job and return it at once, or return the one of the same client with the same key and parameters."""
        if parameters.callback_url is not None:
            _refuse_callback(parameters, wrong_callback(parameters.callback_url, self.webhooks))
        admit = await self.admission.of(request, model, parameters)
        job = await self.jobs.post(
            model,
            parameters,
            client=client_of(request),
            key=idempotency_key,
            join=join,
            detached=detached,
            admit=admit,
            callback_url=parameters.callback_url,
        )
        note_job(request, job)
        return job

    async def begin(self, request: Request[Any, Any, Any], model: str, parameters: GenerationParameters) -> TrackedJob:
        """Queue a job whose progress can be watched, for a connection that then waits for it with `finish`."""
        admit = await self.admission.of(request, model, parameters)
        return await self.jobs.post(
            model, parameters, client=client_of(request), join="never", detached=False, admit=admit
        )

    async def finish(self, request: Request[Any, Any, Any], job: TrackedJob) -> Generated:
        """Wait for a job of `begin`, which is forgotten then; stop it if the client disconnects."""
        generated = await _unless_gone(request, self.jobs.result(job))
        note_generation(request, generated)
        return generated

    async def dry_run(
        self, request: Request[Any, Any, Any], model: str, parameters: GenerationParameters
    ) -> DryRunResult:
        """Describe what a request would do; nothing is loaded, queued or evicted."""
        client = client_of(request)
        self.admission.of_dry_run(client)
        await self.admission.of(request, model, parameters)  # counts as a request, and as no work
        return await self.dry_runs.run(model, parameters, client)


_NO_JOB = "is for jobs: send the request to /jobs, or with the header Prefer: respond-async"


def _refuse_callback(parameters: GenerationParameters, because: str | None) -> None:
    if parameters.callback_url is not None and because is not None:
        raise InvalidRequest([FieldError(field="callback_url", message=because)])


async def _unless_gone(request: Request[Any, Any, Any], working: Coroutine[Any, Any, _T]) -> _T:
    work = asyncio.ensure_future(working)
    watch = asyncio.ensure_future(_disconnected(request))
    try:
        await asyncio.wait({work, watch}, return_when=asyncio.FIRST_COMPLETED)
        if work.done():
            return work.result()
        raise gone_away()
    finally:
        watch.cancel()
        work.cancel()
        # The work stops at its next step and gives its lease back; only then is the request over.
        await asyncio.wait({work})


async def _disconnected(request: Request[Any, Any, Any]) -> None:
    # Litestar does not cancel handlers of clients that left; once the body is read, the next message is the disconnect.
    while (await request.receive())["type"] != "http.disconnect":
        pass
