"""Logs: one chain for structlog and the standard library, readable by people or by programs, never a secret."""

import io
import logging
import re
import warnings
from collections.abc import Iterator
from datetime import datetime, timedelta

import msgspec
import pytest
import structlog
from hypothesis import given, settings
from hypothesis import strategies as st

from litestar_diffusion.infra.telemetry.logs.logging import adopt_library_loggers, configure_logging, redact


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def _restored() -> Iterator[None]:
    """Logging is global: put back what a test changes."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    logging.captureWarnings(False)
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()
    structlog.contextvars.clear_contextvars()


def _lines(stream: io.StringIO) -> list[dict[str, object]]:
    return [msgspec.json.decode(line) for line in stream.getvalue().splitlines()]


def test_json_is_one_object_a_line_with_level_logger_and_utc_time() -> None:
    stream = io.StringIO()
    configure_logging("json", stream=stream)
    structlog.get_logger("app").info("generated", seed=0, size="512x512", warnings=("a", "b"), timings={"load": 0.5})
    (line,) = _lines(stream)
    assert datetime.fromisoformat(str(line.pop("timestamp"))).utcoffset() == timedelta(0)
    assert line == {
        "event": "generated",
        "level": "info",
        "logger": "app",
        "seed": 0,
        "size": "512x512",
        "warnings": ["a", "b"],
        "timings": {"load": 0.5},
    }


def test_the_console_has_colours_on_a_terminal_only() -> None:
    for stream, coloured in ((Terminal(), True), (io.StringIO(), False)):
        configure_logging("console", stream=stream)
        structlog.get_logger().info("ready", port=8000)
        assert ("\x1b[" in stream.getvalue()) is coloured
        assert re.search(r"ready .*port.*=.*8000", stream.getvalue())


def test_auto_is_for_people_on_a_terminal_and_json_elsewhere() -> None:
    terminal, pipe = Terminal(), io.StringIO()
    configure_logging("auto", stream=terminal)
    structlog.get_logger().info("ready")
    configure_logging("auto", stream=pipe)
    structlog.get_logger().info("ready")
    assert "\x1b[" in terminal.getvalue()
    assert [line["event"] for line in _lines(pipe)] == ["ready"]


@pytest.mark.parametrize("name", ["uvicorn.error", "diffusers.models", "transformers", "huggingface_hub"])
def test_library_records_take_the_same_way(name: str) -> None:
    stream = io.StringIO()
    configure_logging("json", stream=stream)
    logging.getLogger(name).warning("%s of %d", "two", 3)
    assert [(line["event"], line["level"], line["logger"]) for line in _lines(stream)] == [
        ("two of 3", "warning", name)
    ]


def test_libraries_that_bring_their_own_handler_later_are_adopted_again() -> None:
    stream, own = io.StringIO(), io.StringIO()
    configure_logging("json", stream=stream)
    library = logging.getLogger("diffusers")  # this is what importing it does
    library.addHandler(logging.StreamHandler(own))
    library.propagate = False
    adopt_library_loggers()
    logging.getLogger("diffusers.schedulers").warning("once")
    assert len(_lines(stream)) == 1
    assert own.getvalue() == ""


def test_configuring_again_replaces_the_last_and_nobody_elses_handler() -> None:
    others = logging.NullHandler()
    logging.getLogger().addHandler(others)
    first, second = io.StringIO(), io.StringIO()
    configure_logging("json", stream=first)
    logger = structlog.get_logger("made before")
    logger.info("one")
    configure_logging("json", "debug", stream=second)
    configure_logging("json", "debug", stream=second)
    logger.debug("two")
    assert [line["event"] for line in _lines(first)] == ["one"]
    assert [line["event"] for line in _lines(second)] == ["two"]
    assert others in logging.getLogger().handlers


def test_less_important_records_are_dropped() -> None:
    stream = io.StringIO()
    configure_logging("json", "warning", stream=stream)
    structlog.get_logger().info("no")
    logging.getLogger("uvicorn.error").info("no")
    structlog.get_logger().error("yes")
    assert [line["event"] for line in _lines(stream)] == ["yes"]


@pytest.mark.parametrize("log_format", ["json", "console"])
def test_exceptions_come_with_their_stack_but_no_local_variables(log_format: str) -> None:
    stream = io.StringIO()
    configure_logging(log_format, stream=stream)  # type: ignore[arg-type]
    prompt = " ".join(["a", "private", "prompt"])  # so that the stack's source lines do not hold it
    for logger in (structlog.get_logger("ours"), logging.getLogger("theirs")):
        try:
            _fail(prompt)
        except ValueError:
            logger.exception("failed")
    text = stream.getvalue()
    assert text.count("Traceback") == 2
    assert text.count("ValueError: broken") == 2
    assert text.count("in _fail") == 2
    assert "a private prompt" not in text


def test_the_context_of_a_request_is_on_every_line_of_it() -> None:
    stream = io.StringIO()
    configure_logging("json", stream=stream)
    with structlog.contextvars.bound_contextvars(request_id="r1"):
        structlog.get_logger().info("ours")
        logging.getLogger("theirs").warning("theirs")
    structlog.get_logger().info("after")
    assert [line.get("request_id") for line in _lines(stream)] == ["r1", "r1", None]


def test_python_warnings_are_records_too() -> None:
    stream = io.StringIO()
    configure_logging("json", stream=stream)
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        logging.captureWarnings(False)
        logging.captureWarnings(True)  # catch_warnings has put the original function back
        warnings.warn("old spelling", FutureWarning, stacklevel=1)
        logging.captureWarnings(False)
    (line,) = _lines(stream)
    assert line["logger"] == "py.warnings"
    assert "old spelling" in str(line["event"])


def test_an_unknown_object_is_shown_not_fatal() -> None:
    stream = io.StringIO()
    configure_logging("json", stream=stream)
    structlog.get_logger().info("odd", what=object())
    assert "<object object" in str(_lines(stream)[0]["what"])


@pytest.mark.parametrize(
    "name",
    ["token", "hf_token", "Authorization", "proxy-authorization", "password", "api_key", "client_secret", "Cookie"],
)
def test_secrets_are_masked_by_name_at_any_depth(name: str) -> None:
    event = redact(None, "info", {"event": "x", name: "s3cret", "headers": {name: "s3cret"}, "all": [{name: "s3cret"}]})
    assert "s3cret" not in repr(event)


@pytest.mark.parametrize("name", ["tokens", "input_tokens", "tokenizer", "n", "model"])
def test_harmless_names_are_left_alone(name: str) -> None:
    assert redact(None, "info", {"event": "x", name: 77}) == {"event": "x", name: 77}


@pytest.mark.parametrize(
    "text", ["sent hf_AbCdEfGhIjKlMnOpQr", "Authorization: Bearer abcdefgh.ijkl", "got Basic dXNlcjpwYXNz"]
)
def test_secrets_are_masked_by_their_look(text: str) -> None:
    masked = redact(None, "info", {"event": text})["event"]
    assert "[redacted]" in masked
    assert text.rsplit(maxsplit=1)[-1] not in masked


@settings(deadline=None)
@given(st.binary(min_size=1) | st.binary(min_size=1).map(bytearray) | st.binary(min_size=1).map(memoryview))
def test_bytes_are_counted_never_shown(value: bytes) -> None:
    assert redact(None, "info", {"image": value}) == {"image": f"<{len(value)} bytes>"}


@settings(deadline=None)
@given(st.integers(2001, 10_000))
def test_long_text_is_cut(length: int) -> None:
    cut = redact(None, "info", {"images": ["A" * length]})["images"][0]
    assert len(cut) < 2050
    assert f"({length} characters)" in cut


def _fail(prompt: str) -> None:
    if prompt:
        raise ValueError("broken")


@pytest.mark.parametrize(("level", "shown"), [("info", 0), ("debug", 1)])
def test_each_request_of_a_download_is_a_line_at_level_debug_only(level: str, shown: int) -> None:
    stream = io.StringIO()
    configure_logging("json", level, stream=stream)  # type: ignore[arg-type]
    logging.getLogger("httpx").info("HTTP Request: GET https://signed.example/?token=x")
    assert len(_lines(stream)) == shown


def test_the_log_follows_standard_error_which_live_bars_replace(monkeypatch: pytest.MonkeyPatch) -> None:
    configure_logging("json")
    later = io.StringIO()
    monkeypatch.setattr("sys.stderr", later)
    structlog.get_logger().info("above the bars")
    assert [line["event"] for line in _lines(later)] == ["above the bars"]
