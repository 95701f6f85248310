"""Logs one structured line for each request, with an id that the client sent or that is made here."""

import re
import time
import uuid
from collections.abc import Mapping
from typing import Any

import structlog
from litestar import Request
from litestar.types import ASGIApp, Message, Receive, Scope, Send

from ...logs import get_logger
from ..http.errors.problems import code_in

_log = get_logger(__name__)
_HEADER = b"x-request-id"
_ACCEPTABLE_ID = re.compile(r"^[A-Za-z0-9._:-]{1,128}$")
_FACTS = "generation_facts"
_KEY = "key_name"
_TRACE = "trace_ids"
_POLLED = re.compile(r"/(health/[a-z]+|metrics|sdapi/v1/progress|internal/ping)$")
"""Paths that monitors and clients request every few seconds or more often; logged at level debug."""


class AccessLog:
    """Gives every request an id, echoes it, and logs one line when the response is done.

    It wraps the whole application, because Litestar's own middleware does not see requests that match no route.
    Prompts are logged only if `log_prompts` is true; images and headers never.
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
                outcome["status"] = int(message["status"])  # Litestar's own answers have an HTTPStatus
                message["headers"] = [*message.get("headers", []), (_HEADER, request_id.encode())]
            elif message["type"] == "http.response.body":
                outcome["bytes"] += len(message.get("body", b""))
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
        if (key := _state(scope).get(_KEY)) is not None:
            facts["key"] = key
        facts.update(_state(scope).get(_TRACE, {}))  # its span has ended
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


def note_key(scope: Any, name: str) -> None:
    """Add the name of the client's key to the line of a request."""
    _state(scope)[_KEY] = name


def note_trace(scope: Any, trace_id: str, span_id: str) -> None:
    """Add the ids of a request's span to its line."""
    _state(scope)[_TRACE] = {"trace_id": trace_id, "span_id": span_id}


def note_facts(request: Request[Any, Any, Any], facts: Mapping[str, Any]) -> None:
    """Add facts to the line of a request; a fact named `prompt` is logged only if the settings allow it."""
    _state(request.scope)[_FACTS] = facts


def _state(scope: Any) -> dict[str, Any]:
    return scope.setdefault("state", {})


def _taken_over(scope: Scope) -> str | None:
    """Return the id that the client sent, if it is short and plain enough for a log."""
    for name, value in scope["headers"]:
        if name == _HEADER:
            text = value.decode("latin-1")
            return text if _ACCEPTABLE_ID.match(text) else None
    return None
