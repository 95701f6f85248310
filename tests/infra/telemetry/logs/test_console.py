"""What a person reads at a terminal: one short line an event, and never a control character of a client."""

import logging
from typing import Any

import pytest

from litestar_diffusion.infra.telemetry.logs.console import ConsoleRenderer
from litestar_diffusion.infra.telemetry.logs.logging import _is_no_routine

MADE = {
    "event": "request", "level": "info", "logger": "web", "timestamp": "2026-11-26T10:20:30.123456Z",
    "method": "POST", "path": "/generate/demo", "status": 200, "bytes": 27601, "ms": 245.92, "request_id": "r" * 32,
    "model": "demo", "residency": "hot", "seed": 18, "n": 1, "size": "128x128", "steps": 4, "sampler": "euler",
    "start_ms": 0.0, "queue_ms": 0.3, "load_ms": 0.7, "encode_ms": 39.6, "denoise_ms": 145.2, "decode_ms": 26.6,
    "write_ms": 19.2, "memory_savings": [], "warnings": 0,
}  # fmt: skip


def line(colours: bool = False, **facts: Any) -> str:
    return ConsoleRenderer(colours=colours)(None, "info", {**facts})


def test_a_request_is_one_short_line_with_what_a_person_looks_for() -> None:
    assert line(**MADE)[10:] == "200  POST /generate/demo            0.25 s  128x128, 4 steps, seed 18"


def test_waiting_loading_warnings_and_several_images_are_told_if_there_were_any() -> None:
    told = line(**{**MADE, "n": 2, "warnings": 1, "start_ms": 3000.0, "queue_ms": 1200.0, "load_ms": 2500.0})
    assert told.endswith("128x128, 4 steps, 2 images, started 3.00 s, waited 1.20 s, loaded 2.50 s, 1 warning")


def test_a_model_that_is_not_in_the_path_is_named() -> None:
    assert "demo, 128x128" in line(**{**MADE, "path": "/v1/images/generations"})


def test_requests_stand_in_columns_and_refusals_say_their_code() -> None:
    refused = {"event": "request", "method": "GET", "path": "/x", "status": 404, "ms": 1.9, "code": "not_found"}
    assert line(**refused).endswith("404  GET /x                         0.00 s  not_found")
    assert line(**MADE).index(" s  ") == line(**refused).index(" s  ")
    assert "---  GET /x" in line(**{**refused, "status": None}), "the client left before an answer"


def test_colours_are_for_terminals() -> None:
    assert "\x1b[32m200" in line(colours=True, **MADE)
    assert "\x1b" not in line(**MADE)


@pytest.mark.parametrize("path", ["/\x1b]0;owned\x07", "/\x9b2J", "/a\nb", "/\u202eabc", "/\udc80"])
def test_control_characters_of_clients_are_escaped(path: str) -> None:
    told = line(**{**MADE, "path": path})
    assert path not in told
    assert told.isprintable()


@pytest.mark.parametrize(
    ("facts", "told"),
    [
        (
            {"event": "engine_started", "device": "cpu", "computed_in": "bfloat16", "threads": 2, "seconds": 2.67},
            "Engine started in 2.7 s: cpu, bfloat16, 2 threads",
        ),
        ({"event": "ready", "device": "cpu", "default_model": "demo"}, "Ready on cpu; demo is loaded"),
        ({"event": "ready", "device": "cpu", "default_model": None}, "Ready on cpu; no model is loaded"),
        (
            {"event": "models", "usable": ["a", "b"], "not_downloaded": ["b"]},
            "Models: a; downloaded at the first request: b",
        ),
        ({"event": "model_loaded", "model": "a", "nbytes": 10921408, "ms": 427.9}, "Loaded a: 10.9 MB in 0.43 s"),
        (
            {"event": "model_unloaded", "model": "a", "nbytes": 10921408, "ms": 1.0, "reason": "asked for"},
            "Unloaded a: 10.9 MB; asked for",
        ),
        ({"event": "something_new", "port": 8000, "why": "x"}, "something_new  port=8000 why=x"),
        ({"event": "ready", "port": 8000}, "ready  port=8000"),
    ],
)
def test_events_are_sentences_and_unknown_ones_keep_all_their_facts(facts: dict[str, Any], told: str) -> None:
    assert line(**facts)[10:] == told


def test_warnings_and_errors_say_that_they_are_and_bring_their_stack() -> None:
    told = line(event="engine_failed", level="error", exception="Traceback\n  ...\nValueError: x")
    assert told.splitlines()[0].endswith("error  engine_failed")
    assert told.splitlines()[-1] == "ValueError: x"


@pytest.mark.parametrize(
    ("name", "message", "shown"),
    [
        ("uvicorn.error", "Started server process [%d]", False),
        ("uvicorn.error", "Application startup complete.", False),
        ("uvicorn.error", "Shutting down", True),
        ("other", "Started server process", True),
    ],
)
def test_routine_of_the_http_server_is_left_out_for_people(name: str, message: str, shown: bool) -> None:
    record = logging.LogRecord(name, logging.INFO, "", 0, message, (), None)
    assert _is_no_routine(record) is shown
