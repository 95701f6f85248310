"""Logging of the standalone application: structlog and the standard library through one chain to one stream.

As a plugin the server leaves the logging of the application around it alone and calls none of this; see `logs`.
"""

import io
import logging
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Literal, TextIO, cast

import msgspec
import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from .console import ConsoleRenderer
from .log_writer import LogWriter
from .repeated_events import RepeatedEvents

LogFormat = Literal["auto", "console", "json"]
LogLevel = Literal["debug", "info", "warning", "error"]

_MAX_CHARS = 2000
_FLUSH_S = 2.0
_UNSEEN = re.compile("[\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb]")
"""DEL, C1 controls, and what changes the direction of text or is not shown: JSON may hold them, a terminal obeys them."""
_SECRET_NAME = re.compile(r"(?:^|[_-])(?:token|authorization|password|secret|cookie|api[_-]?key)$", re.IGNORECASE)
_SECRET_VALUE = re.compile(r"\bhf_[A-Za-z0-9]{8,}|\b(?:Bearer|Basic)\s+[\w.~+/=-]{8,}")
_REDACTED = "[redacted]"
_ROUTINE = ("Started server", "Waiting for application", "Application s", "Finished server")
"""Beginnings of uvicorn's messages that say nothing to a person; our own lines say when the server is ready."""
_LIBRARIES = ("uvicorn", "uvicorn.error", "diffusers", "transformers", "huggingface_hub")


class _Handler(logging.Handler):
    """A type of its own, so that configuring again replaces this handler and no other.

    A logger that calls it never waits: lines are written by a thread, but for those to a stream in memory.
    """

    def __init__(self, stream: TextIO | None) -> None:
        """Write to a stream; None: to what standard error is at the time, because live bars put themselves before it."""
        super().__init__()
        self._stream = stream
        self._repeated = RepeatedEvents()
        self._writer = LogWriter(self._target, told_dropped=self._told_dropped, on_tick=self._tell_repeated)

    def emit(self, record: logging.LogRecord) -> None:
        """Write one record, unless it repeats too often."""
        try:
            self._write_repeated()
            if self._repeated.passes(record):
                self._write(self.format(record))
        except Exception:
            self.handleError(record)

    def flush(self) -> None:
        """Write what is left, at the end of the process, for as long as that makes sense."""
        with self._locked():
            self._repeated.end()
            self._write_repeated()
        self._writer.flush(_FLUSH_S)

    def close(self) -> None:
        """End the thread."""
        self._writer.close()
        super().close()

    def _tell_repeated(self) -> None:
        with self._locked():
            self._write_repeated()

    def _write_repeated(self) -> None:
        for record in self._repeated.summaries():
            self._write(self.format(record))

    def _write(self, line: str) -> None:
        if isinstance(self._stream, io.StringIO):
            self._stream.write(f"{line}\n")
        else:
            self._writer.write(line)

    def _target(self) -> TextIO:
        return self._stream or sys.stderr

    def _told_dropped(self, count: int) -> str:
        message = (
            f"log_lines_dropped: {count} lines are missing, because the log is read more slowly than it is written"
        )
        return self.format(logging.LogRecord(__name__, logging.WARNING, "", 0, message, None, None))

    @contextmanager
    def _locked(self) -> Iterator[None]:
        self.acquire()
        try:
            yield
        finally:
            self.release()


def flush_logs() -> None:
    """Write what is left of the log. At most a few seconds, if nothing reads it."""
    for handler in logging.getLogger().handlers:
        if isinstance(handler, _Handler):
            handler.flush()


def configure_logging(
    log_format: LogFormat = "auto",
    level: LogLevel = "info",
    *,
    stream: TextIO | None = None,
    processors: Sequence[Processor] = (),
) -> None:
    """Send structlog's and the standard library's records to one stream. Calling it again replaces the last call.

    Args:
        log_format: `console` is for people, `json` writes an object a line, `auto` chooses the first on a terminal.
        level: what is less important is dropped.
        stream: standard error when absent.
        processors: add facts to each line.
    """
    target = stream or sys.stderr
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *_shared(processors),
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=False,  # loggers made before a second call must follow it
    )
    handler = _Handler(stream)
    if for_people(log_format, target):
        handler.addFilter(_is_no_routine)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=_shared(processors),
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *_renderers(log_format, target)],
        )
    )
    root = logging.getLogger()
    for other in root.handlers[:]:
        if isinstance(other, _Handler):
            root.removeHandler(other)
            other.close()
    root.addHandler(handler)
    root.setLevel(level.upper())
    # At level info httpx tells each request of a download, some with signed URLs.
    # Alembic tells its plugins at each start, nine lines before ours.
    for name in ("httpx", "alembic"):
        logging.getLogger(name).setLevel(logging.NOTSET if level == "debug" else logging.WARNING)
    logging.captureWarnings(True)
    adopt_library_loggers()


def for_people(log_format: LogFormat, stream: TextIO) -> bool:
    """Tell whether the log on this stream is read by a person, and not by a program."""
    return log_format == "console" or (log_format == "auto" and stream.isatty())


def adopt_library_loggers() -> None:
    """Take the handlers off the libraries' loggers, so that their records come to ours.

    diffusers, transformers and huggingface_hub install handlers of their own when they are imported: call this again
    after that.
    """
    logging.getLogger("uvicorn.access").disabled = True  # our access log says more, in one line
    for name in _LIBRARIES:
        logger = logging.getLogger(name)
        logger.handlers.clear()
        logger.propagate = True


def redact(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Mask secrets by name and by look, and cut what is long, so that neither a token nor an image is ever logged."""
    return {key: _redacted(key, value) for key, value in event.items()}


def _redacted(key: object, value: object) -> object:
    if isinstance(key, str) and _SECRET_NAME.search(key) and value is not None:
        return _REDACTED
    match value:
        case str():
            return _cut(_SECRET_VALUE.sub(_REDACTED, value))
        case bytes() | bytearray() | memoryview():
            return f"<{memoryview(value).nbytes} bytes>"
        case Mapping():
            return {name: _redacted(name, item) for name, item in cast("Mapping[object, object]", value).items()}
        case list():
            return [_redacted("", item) for item in cast("list[object]", value)]
        case tuple():
            return tuple(_redacted("", item) for item in cast("tuple[object, ...]", value))
        case _:
            return value


def _cut(text: str) -> str:
    return text if len(text) <= _MAX_CHARS else f"{text[:_MAX_CHARS]}… ({len(text)} characters)"


def _shared(processors: Sequence[Processor]) -> list[Processor]:
    return [
        structlog.contextvars.merge_contextvars,
        *processors,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.StackInfoRenderer(),
        redact,
    ]


def _renderers(log_format: LogFormat, stream: TextIO) -> list[Processor]:
    # structlog's own renderer prints the local variables of every frame: prompts, tokens, pixels.
    plain = structlog.processors.format_exc_info
    if for_people(log_format, stream):
        return [plain, ConsoleRenderer(colours=stream.isatty())]
    return [plain, structlog.processors.JSONRenderer(serializer=_json)]


def _is_no_routine(record: logging.LogRecord) -> bool:
    return record.name != "uvicorn.error" or not str(record.msg).startswith(_ROUTINE)


def _json(event: object, **_: Any) -> str:
    text = msgspec.json.encode(event, enc_hook=lambda value: _cut(repr(value))).decode()
    return _UNSEEN.sub(lambda found: f"\\u{ord(found[0]):04x}", text)
