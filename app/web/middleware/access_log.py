"""One structured line a request, with an id that is taken over from the client or made."""

import re
import time
import uuid
from typing import Any

import structlog
from litestar.types import ASGIApp, Message, Receive, Scope, Send

from ...domain.generator import Generated
from ...domain.jobs.tracked_job import TrackedJob
from ...domain.models.spec import HEAT
from ..api.views import timings_view
from ..http.problems import code_in

_log = structlog.get_logger()
_HEADER = b"x-request-id"
_ACCEPTABLE_ID = re.compile(r"^[A-Za-z0-9._:-]{1,128}$")
_FACTS = "generation_facts"
_POLLED = re.compile(r"/(health/[a-z]+|metrics)$")
"""What machines ask for every few seconds."""


class AccessLog:
    """Gives every request an id, echoes it, and logs one line when the response is done.

    It wraps the whole application, because Litestar's own middleware does not see requests that match no route.
    Prompts are logged only if `log_prompts` says so; images and headers never.
    """

    def __init__(self, app: ASGIApp, *, log_prompts: bool = False) -> None:
        self._app = app
        self._log_prompts = log_prompts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Wrap one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = _taken_over(scope) or uuid.uuid4().hex
        _state(scope)["request_id"] = request_id
        outcome: dict[str, Any] = {"status": None, "bytes": 0}

        async def observed(message: Message) -> None:
            if message["type"] == "http.response.start":
                outcome["status"] = message["status"]
                message["headers"] = [*message["headers"], (_HEADER, request_id.encode())]
            elif message["type"] == "http.response.body":
                outcome["bytes"] += len(message["body"])
            await send(message)

        begun = time.perf_counter()
        with structlog.contextvars.bound_contextvars(request_id=request_id):
            try:
                await self._app(scope, receive, observed)
            finally:
                self._write(scope, outcome, time.perf_counter() - begun)

    def _write(self, scope: Scope, outcome: dict[str, Any], seconds: float) -> None:
        facts = dict(_state(scope).get(_FACTS, {}))
        if not self._log_prompts:
            facts.pop("prompt", None)
        if (code := code_in(scope)) is not None:
            facts["code"] = code
        level = _log.debug if _POLLED.search(scope["path"]) else _log.info
        level(
            "request",
            method=scope.get("method"),
            path=scope["path"],
            status=outcome["status"],
            bytes=outcome["bytes"],
            ms=round(seconds * 1000, 2),
            **facts,
        )


def request_id_of(request: Any) -> str | None:
    """The id of a request; None where nobody logs access (a plugin inside another application)."""
    return _state(request.scope).get("request_id")


def note_generation(request: Any, generated: Generated) -> None:
    """Add what a generation found and took to the request's line."""
    asked, timings = generated.request, timings_view(generated.timings)
    _state(request.scope)[_FACTS] = {
        "model": asked.model,
        "residency": HEAT[generated.found],
        "seed": asked.seeds[0],
        "n": len(asked.seeds),
        "size": f"{asked.width}x{asked.height}",
        "steps": asked.num_inference_steps,
        "sampler": str(asked.sampler),
        "queue_ms": timings.queue_ms,
        "load_ms": timings.load_ms,
        "encode_ms": timings.encode_ms,
        "denoise_ms": timings.denoise_ms,
        "decode_ms": timings.decode_ms,
        "write_ms": timings.write_ms,
        "memory_savings": list(generated.savings),
        "warnings": len(generated.warnings),
        "prompt": asked.prompt,
    }


def note_job(request: Any, job: TrackedJob) -> None:
    """Add to the request's line which job it is about."""
    _state(request.scope)[_FACTS] = {"model": job.model, "job": job.id}


def _state(scope: Any) -> dict[str, Any]:
    return scope.setdefault("state", {})


def _taken_over(scope: Scope) -> str | None:
    """The client's own id, if it is short and plain enough to stand in a log."""
    for name, value in scope["headers"]:
        if name == _HEADER:
            text = value.decode("latin-1")
            return text if _ACCEPTABLE_ID.match(text) else None
    return None
