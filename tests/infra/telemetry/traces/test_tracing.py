"""Traces: from the client's `traceparent` through the HTTP request down to the phases of the real engine."""

import io
import json
import logging
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar

import pytest
import structlog
from litestar import Litestar
from litestar.plugins.opentelemetry import OpenTelemetryConfig
from litestar.testing import TestClient
from opentelemetry import trace
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import format_span_id, format_trace_id

from litestar_diffusion import DiffusionConfig, DiffusionPlugin
from litestar_diffusion.asgi import create_app
from litestar_diffusion.bootstrap import build
from litestar_diffusion.infra.telemetry.logs.logging import configure_logging, flush_logs
from litestar_diffusion.infra.telemetry.logs.phases import Phase, phases_of
from litestar_diffusion.infra.telemetry.traces.trace_ids import trace_ids
from litestar_diffusion.settings import ModelsSettings, Settings, TelemetrySettings
from litestar_diffusion.testing import fake_services, model

TRACED = Settings(models=ModelsSettings(directory=None, hub_enabled=False), telemetry=TelemetrySettings(traces=True))
BODY = {"prompt": "x", "seed": 1, "num_inference_steps": 2}
TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


class Collector(BaseHTTPRequestHandler):
    """Takes spans as an OpenTelemetry collector does."""

    spans: ClassVar[list[Any]] = []
    resources: ClassVar[list[dict[str, str]]] = []

    def do_POST(self) -> None:
        sent = ExportTraceServiceRequest.FromString(self.rfile.read(int(self.headers["content-length"])))
        for group in sent.resource_spans:
            self.resources.append({each.key: each.value.string_value for each in group.resource.attributes})
            self.spans.extend(span for scope in group.scope_spans for span in scope.spans)
        self.send_response(200)
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the name that the base class gave it
        """Say nothing."""


@pytest.fixture(scope="module")
def collected() -> Iterator[tuple[dict[str, Any], Any, list[dict[str, str]]]]:
    """Spans by name of one request to the real engine, its answer, and the resources, as a collector gets them."""

    class Ours(Collector):
        spans: ClassVar[list[Any]] = []
        resources: ClassVar[list[dict[str, str]]] = []

    with pytest.MonkeyPatch.context() as environment, ThreadingHTTPServer(("127.0.0.1", 0), Ours) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        environment.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{server.server_address[1]}")
        environment.setenv("OTEL_SERVICE_NAME", "pictures")
        with TestClient(create_app(TRACED), base_url="http://127.0.0.1") as client:
            answer = client.post("/generate/demo", json=BODY, headers={"traceparent": f"00-{TRACE}-{PARENT}-01"})
            client.post("/generate/nope", json=BODY)
            client.get("/health/live")
        server.shutdown()
        thread.join()
    yield {span.name: span for span in Ours.spans if span.trace_id.hex() == TRACE}, answer, Ours.resources
    others = [span for span in Ours.spans if span.trace_id.hex() != TRACE]
    assert {span.name for span in others} == {"POST /generate/{model_name}", "generate"}, "probes have no trace"


def test_a_request_is_one_trace_from_the_clients_span_down_to_each_phase(collected: Any) -> None:
    spans, answer, _ = collected
    assert answer.status_code == 200
    request, generate = spans["POST /generate/{model_name}"], spans["generate"]
    assert request.parent_span_id.hex() == PARENT
    assert generate.parent_span_id == request.span_id
    phases = {name for name, span in spans.items() if span.parent_span_id == generate.span_id}
    assert {"encode", "denoise", "decode", "write"} <= phases
    assert {"start", "load"} & phases, "the first request waits for the engine or the model"


def test_the_lengths_of_phases_are_those_that_the_answer_tells(collected: Any) -> None:
    spans, answer, _ = collected
    timings = answer.json()["timings"]
    for name in ("encode", "denoise", "decode"):
        span = spans[name]
        assert (span.end_time_unix_nano - span.start_time_unix_nano) / 1e6 == pytest.approx(
            timings[f"{name}_ms"], abs=1.0
        )
    generate = spans["generate"]
    for span in spans.values():
        if span.parent_span_id == generate.span_id:
            assert generate.start_time_unix_nano <= span.start_time_unix_nano
            assert span.end_time_unix_nano <= generate.end_time_unix_nano


def test_the_span_says_what_was_made_but_no_prompt(collected: Any) -> None:
    spans, _, _ = collected
    facts = {each.key: each.value for each in spans["generate"].attributes}
    assert facts["litestar_diffusion.model"].string_value == "demo"
    assert facts["litestar_diffusion.steps"].int_value == 2
    assert not [name for name in facts if "prompt" in name]


def test_the_answer_names_its_trace(collected: Any) -> None:
    spans, answer, _ = collected
    assert answer.headers["traceresponse"] == f"00-{TRACE}-{spans['POST /generate/{model_name}'].span_id.hex()}-01"


def test_the_standard_variables_name_the_service(collected: Any) -> None:
    assert {each["service.name"] for each in collected[2]} == {"pictures"}


@pytest.fixture(scope="module")
def host() -> Iterator[InMemorySpanExporter]:
    """What the tracer provider of an application got. It is put back: a process can set one only once."""
    exporter, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(trace, "get_tracer_provider", lambda: provider)
        yield exporter


def test_the_log_lines_of_a_request_name_its_trace_and_span(
    host: InMemorySpanExporter, capsys: pytest.CaptureFixture[str]
) -> None:
    host.clear()
    with TestClient(create_app(TRACED), base_url="http://127.0.0.1") as client:
        client.post("/generate/nope", json=BODY, headers={"traceparent": f"00-{TRACE}-{PARENT}-01"})
        client.get("/health/live")
    flush_logs()
    lines = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    (request,) = [line for line in lines if line["event"] == "request"]
    spans = {span.name: format_span_id(span.context.span_id) for span in host.get_finished_spans() if span.context}
    assert (request["trace_id"], request["span_id"]) == (TRACE, spans["POST /generate/{model_name}"])
    assert not [line for line in lines if "trace_id" in line and line["event"] != "request"]


def test_lines_inside_a_span_name_it_and_others_name_none() -> None:
    stream = io.StringIO()
    configure_logging("json", stream=stream, processors=[trace_ids()])
    with TracerProvider().get_tracer("x").start_as_current_span("making") as span:
        structlog.get_logger("ours").info("ours")
        logging.getLogger("of.a.library").warning("theirs")
    logging.getLogger("of.a.library").warning("outside")
    ours, theirs, outside = [json.loads(line) for line in stream.getvalue().splitlines()]
    context = span.get_span_context()
    for line in (ours, theirs):
        assert (line["trace_id"], line["span_id"]) == (
            format_trace_id(context.trace_id),
            format_span_id(context.span_id),
        )
    assert "trace_id" not in outside


def embedded(settings: Settings) -> Litestar:
    def services(stated: Settings) -> Any:
        return fake_services(model("demo"), settings=stated)

    traces = OpenTelemetryConfig(exclude_spans=["receive", "send"])
    return Litestar(
        plugins=[DiffusionPlugin(DiffusionConfig(settings=settings, build=services))], middleware=[traces.middleware]
    )


def test_inside_another_application_spans_stand_below_its_own(host: InMemorySpanExporter) -> None:
    host.clear()
    with TestClient(embedded(TRACED)) as client:
        assert client.post("/generate/demo", json=BODY, headers={"traceparent": f"00-{TRACE}-{PARENT}-01"}).is_success
    spans: dict[str, ReadableSpan] = {span.name: span for span in host.get_finished_spans()}
    request, generate = spans["POST /generate/demo"], spans["generate"]
    assert request.context is not None
    assert request.parent is not None
    assert generate.parent is not None
    assert request.parent.span_id == int(PARENT, 16)
    assert generate.parent.span_id == request.context.span_id


def test_a_request_that_fails_has_the_code_of_its_error(host: InMemorySpanExporter) -> None:
    host.clear()
    with TestClient(embedded(TRACED)) as client:
        client.post("/generate/demo", json={**BODY, "width": 7})
        client.post("/generate/nope", json=BODY)
    [span] = [each for each in host.get_finished_spans() if each.name == "generate"][-1:]
    assert span.attributes is not None
    assert (span.attributes["error.type"], span.status.is_ok) == ("unknown_model", False)


def test_without_the_setting_there_is_no_span(host: InMemorySpanExporter) -> None:
    host.clear()
    with TestClient(embedded(Settings())) as client:
        client.post("/generate/demo", json=BODY)
    assert [span.name for span in host.get_finished_spans()] == ["POST /generate/demo"], "the one of the application"


def test_without_the_setting_no_machinery_of_opentelemetry_is_imported() -> None:
    """Litestar itself imports the API if it is installed."""
    code = (
        "import sys; from litestar_diffusion.asgi import create_app; create_app();"
        "assert not [name for name in sys.modules if name.startswith(('opentelemetry.sdk', 'opentelemetry.exporter'))]"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_without_the_packages_the_setting_is_refused_with_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry.trace", None)
    with pytest.raises(Exception, match=r"telemetry.traces.*litestar-diffusion\[otel\]"):
        build(TRACED)


def test_phases_follow_each_other_and_writing_ends_with_the_request() -> None:
    placed = list(phases_of(0, 10_000_000_000, {"queue": 1, "denoise": 3, "decode": 0, "write": 2, "total": 10}))
    assert placed == [
        Phase("queue", 0, 1_000_000_000),
        Phase("denoise", 1_000_000_000, 4_000_000_000),
        Phase("write", 8_000_000_000, 10_000_000_000),
    ]
    assert list(phases_of(0, 1_000_000_000, {"denoise": 3, "write": 2})) == [Phase("denoise", 0, 1_000_000_000)]
