"""Puts the ids of the active span on log lines, so that a trace leads to its lines and a line to its trace."""

from structlog.typing import EventDict, Processor, WrappedLogger

from .tracing import packages_needed


def trace_ids() -> Processor:
    """Make the processor, for logs of installations with traces.

    Raises:
        InvalidSettings: the packages of the extra are missing.
    """
    with packages_needed():
        from opentelemetry.trace import format_span_id, format_trace_id, get_current_span

    def add(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
        context = get_current_span().get_span_context()
        if context.is_valid:
            event.setdefault("trace_id", format_trace_id(context.trace_id))
            event.setdefault("span_id", format_span_id(context.span_id))
        return event

    return add
