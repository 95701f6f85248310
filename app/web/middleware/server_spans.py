"""Spans of HTTP requests for the standalone application, by Litestar's OpenTelemetry middleware. An embedding one has its own."""

from typing import TYPE_CHECKING

from litestar.middleware import DefineMiddleware
from litestar.types import ASGIApp, Message, Receive, Scope, Send

from .access_log import note_trace

if TYPE_CHECKING:
    from opentelemetry.trace import TracerProvider

_UNTRACED = ["/health/", "/metrics$", "/internal/ping$", "/sdapi/v1/progress$", "/schema"]
"""Paths that monitors and pages ask for, a trace of which would say nothing."""


def server_spans(provider: "TracerProvider") -> DefineMiddleware:
    """Make the middleware: it takes `traceparent` over from a request."""
    from litestar.plugins.opentelemetry import OpenTelemetryConfig  # here, because most installations have no traces

    return OpenTelemetryConfig(
        tracer_provider=provider, exclude=_UNTRACED, exclude_spans=["receive", "send"]
    ).middleware


def name_span(app: ASGIApp) -> ASGIApp:
    """Name the span of a request by its route, and tell the client its trace by the header `traceresponse` (W3C)."""
    from opentelemetry.trace import format_span_id, format_trace_id, get_current_span

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        span = get_current_span()
        # Litestar begins the span before it knows the route.
        route = str(scope.get("path_template") or scope["path"])
        span.update_name(f"{scope.get('method', '')} {route}".strip())
        span.set_attribute("http.route", route)
        context = span.get_span_context()
        trace_id, span_id = format_trace_id(context.trace_id), format_span_id(context.span_id)
        if context.is_valid:
            note_trace(scope, trace_id, span_id)

        async def stating(message: Message) -> None:
            if message["type"] == "http.response.start" and context.is_valid:
                ids = f"00-{trace_id}-{span_id}-{context.trace_flags:02x}"
                message["headers"] = [*message.get("headers", []), (b"traceresponse", ids.encode())]
            await send(message)

        await app(scope, receive, stating)

    return answer
