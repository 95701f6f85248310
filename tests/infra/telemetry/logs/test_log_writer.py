"""The log blocks nothing, hides no control character from view, and does not repeat itself without end."""

import io
import logging
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator

import msgspec
import pytest
import structlog

from litestar_diffusion.infra.telemetry.logs.log_writer import LogWriter
from litestar_diffusion.infra.telemetry.logs.logging import LogFormat, configure_logging
from litestar_diffusion.infra.telemetry.logs.repeated_events import RepeatedEvents

ODD = "\x1b]0;owned\x07 \x9b31m \x7f \x00 \r \u202egnp.exe \u2066 \u200b \u2028"
HIDDEN = frozenset(ODD) - {" ", *"]0;owned31mgnpx."}


class Closed(io.TextIOBase):
    """A stream whose reader does not read, until the gate is opened."""

    def __init__(self) -> None:
        self.gate = threading.Event()
        self.lines: list[str] = []

    def write(self, text: str) -> int:
        assert self.gate.wait(20)
        self.lines.append(text.rstrip("\n"))
        return len(text)


@pytest.fixture
def closed() -> Iterator[Closed]:
    stream = Closed()
    yield stream
    stream.gate.set()


def test_lines_that_find_no_room_are_dropped_and_counted_and_those_kept_are_in_order(closed: Closed) -> None:
    writer = LogWriter(lambda: closed, told_dropped="{} dropped".format, max_lines=10)  # type: ignore[arg-type, return-value]
    writer.write("0")
    deadline = time.monotonic() + 20
    while writer.waiting:  # the thread has it, and waits for the reader
        assert time.monotonic() < deadline
        time.sleep(0.001)
    for number in range(1, 101):
        writer.write(str(number))
    begun = time.monotonic()
    writer.flush(0.05)
    assert time.monotonic() - begun < 1, "the end of a process does not wait for a reader"
    closed.gate.set()
    writer.flush(20)
    writer.write("after")
    writer.flush(20)
    assert closed.lines == ["0", "90 dropped", *map(str, range(1, 11)), "after"]


def test_a_reader_that_has_left_is_an_error_of_none(closed: Closed) -> None:
    read, write = os.pipe()
    os.close(read)
    broken = os.fdopen(write, "w")
    stream = broken
    writer = LogWriter(lambda: stream, told_dropped="{} dropped".format)
    writer.write("lost")
    writer.flush(20)
    stream = closed  # type: ignore[assignment]
    closed.gate.set()
    writer.write("found")
    writer.flush(20)
    assert closed.lines == ["1 dropped", "found"]
    with pytest.raises(BrokenPipeError):
        broken.close()


@pytest.mark.parametrize("log_format", ["json", "console"])
def test_control_characters_are_escaped_in_every_value_of_every_logger(log_format: LogFormat) -> None:
    stream = io.StringIO()
    configure_logging(log_format, "debug", stream=stream)
    structlog.get_logger("ours").info("request", path=ODD, method=ODD, status=404, ms=1.0, code=ODD)
    structlog.get_logger("ours").info(ODD, value=ODD, values=[ODD], nested={ODD: ODD})
    logging.getLogger("uvicorn.error").warning("Invalid %s", ODD)
    try:
        raise ValueError(ODD)
    except ValueError:
        logging.getLogger("asyncio").exception(ODD)
    text = stream.getvalue()
    assert text.count("owned") >= 8
    assert not HIDDEN & set(text)
    if log_format == "json":
        lines = [msgspec.json.decode(line) for line in text.splitlines()]
        assert lines[0]["path"] == ODD, "programs read what was sent"


def test_equal_events_are_written_a_few_times_a_second_and_then_counted() -> None:
    now = 0.0
    repeated = RepeatedEvents(20, clock=lambda: now)

    def passed(message: object, *arguments: object) -> bool:
        return repeated.passes(logging.LogRecord("uvicorn", logging.ERROR, "", 0, message, arguments, None))

    assert sum(passed("accept: %s", "too many open files") for _ in range(832)) == 20
    assert sum(passed({"event": "request", "path": "/x", "ms": index}) for index in range(30)) == 20
    assert all(passed({"event": "request", "path": f"/{index}"}) for index in range(100)), "each is another"
    assert not list(repeated.summaries())
    now = 1.0
    told, dictionary = repeated.summaries()
    assert told.getMessage() == "accept: too many open files (repeated 812 times)"
    assert dictionary.msg == {"event": "request", "path": "/x", "ms": 29, "repeated": 10}
    assert passed("accept: %s", "too many open files")


@pytest.mark.parametrize("log_format", ["json", "console"])
def test_repetitions_are_told_in_the_log(log_format: LogFormat) -> None:
    stream = io.StringIO()
    configure_logging(log_format, stream=stream)
    for _ in range(100):
        structlog.get_logger("ours").warning("full", waiting=3)
    for handler in logging.getLogger().handlers:
        handler.flush()
    lines = stream.getvalue().splitlines()
    assert len(lines) == 21
    assert ('"repeated":80' if log_format == "json" else "(repeated 80 times)") in lines[-1]


CRASH = """
from litestar_diffusion.infra.telemetry.logs.logging import configure_logging
import logging
configure_logging("json")
for number in range(500):
    logging.getLogger("x").warning("line %d", number)
raise SystemExit(3)
"""


def test_the_log_is_complete_when_a_process_ends_at_its_start() -> None:
    ended = subprocess.run([sys.executable, "-c", CRASH], stderr=subprocess.PIPE, timeout=60, check=False)
    assert ended.returncode == 3
    assert ended.stderr.count(b'"event":"line ') == 500
