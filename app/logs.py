"""The loggers of this package: through structlog if the process has configured it, else through the standard library.

So the log of an application around us stays its own: its levels and handlers decide about our lines. structlog without a
configuration would print every line, of any level.
"""

import logging
from collections.abc import Sequence
from typing import Any, cast

import structlog
from structlog.stdlib import BoundLogger
from structlog.typing import EventDict, WrappedLogger

_FRAMES = 4
"""Frames of structlog between a line of ours and the standard library's logger, which names the line's module."""


def get_logger(name: str) -> BoundLogger:
    """Make a logger that decides at each line where it goes, because an application may configure logging at any time.

    Args:
        name: of the module, such as `litestar_diffusion.lifecycle`.
    """
    return cast("BoundLogger", _Logger(name))


class _Logger:
    """Has the methods of structlog's loggers: `info("event", fact=1)`."""

    def __init__(self, name: str) -> None:
        self._structured = structlog.get_logger(name)
        self._plain = structlog.wrap_logger(
            logging.getLogger(name), processors=_PLAIN, wrapper_class=BoundLogger, context_class=dict
        )

    def __getattr__(self, method: str) -> Any:
        return getattr(self._structured if structlog.is_configured() else self._plain, method)


def _as_message(_logger: WrappedLogger, _method: str, event: EventDict) -> tuple[Sequence[str], dict[str, Any]]:
    """Render the facts after the event, and leave stacks to the handlers of the application."""
    kept = {key: event.pop(key) for key in ("exc_info", "stack_info") if key in event}
    kept["stacklevel"] = _FRAMES
    message = " ".join([str(event.pop("event")), *(f"{key}={value!r}" for key, value in event.items())])
    return (message,), kept


_PLAIN = (structlog.stdlib.filter_by_level, structlog.contextvars.merge_contextvars, _as_message)
