"""`GET /metrics` of a real server, read by Prometheus' own parser; and events that a CPU never sends."""

from typing import Any

import pytest
from prometheus_client.openmetrics import parser as openmetrics
from prometheus_client.parser import text_string_to_metric_families

from litestar_diffusion.domain.memory.events import (
    AssetLoadFailed,
    AssetOffloaded,
    AssetPlaced,
    AssetUnloaded,
    PoolEvent,
)
from litestar_diffusion.domain.memory.eviction.eviction_reason import EvictionCause, EvictionReason
from litestar_diffusion.domain.models.assets import AssetKey
from litestar_diffusion.infra.telemetry.metrics.metrics import Metrics
from tests.conftest import Server

PREFIX = "litestar_diffusion_"
A = AssetKey("model", "a")
ROOM = EvictionReason(cause=EvictionCause.ROOM, for_model=A)


class Scrape:
    """The values of one answer."""

    def __init__(self, text: str) -> None:
        self.families = {family.name: family for family in text_string_to_metric_families(text)}
        self.values = {
            (sample.name.removeprefix(PREFIX), frozenset(sample.labels.items())): sample.value
            for family in self.families.values()
            for sample in family.samples
        }

    def __call__(self, name: str, /, **labels: str) -> float:
        return self.values.get((name, frozenset(labels.items())), 0.0)


def scrape(server: Server) -> Scrape:
    answer = server.client.get("/metrics")
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/plain; version=")
    return Scrape(answer.text)


def test_a_generation_is_counted_with_its_lease_its_phases_and_its_bytes(server: Server) -> None:
    server.client.post("/models/demo/unload")
    before = scrape(server)
    body = {"prompt": "a red circle on a blue background", "n": 2}
    assert server.client.post("/generate/demo", json=body).json()["residency"] == "cold"
    assert server.client.post("/generate/demo", json=body).json()["residency"] == "hot"
    after = scrape(server)

    def grown(name: str, **labels: str) -> float:
        return after(name, **labels) - before(name, **labels)

    assert grown("requests_total", route="/generate/{model_name}", method="POST", status="200") == 2
    assert grown("images_total", model="demo") == 4
    assert grown("leases_total", model="demo", found="cold") == 1
    assert grown("leases_total", model="demo", found="hot") == 1
    assert grown("loads_total", model="demo") == grown("load_seconds_count", model="demo") == 1
    assert grown("moved_bytes_total", direction="disk_to_host") > 10_000_000
    for phase in ("queue", "load", "encode", "denoise", "decode", "write", "total"):
        assert grown("phase_seconds_count", phase=phase) == 2
    assert 0 < grown("phase_seconds_sum", phase="denoise") < grown("phase_seconds_sum", phase="total")
    assert after("resident_bytes", where="device") > 10_000_000
    assert after("leases_held") == after("queue_depth") == after("reserved_bytes") == 0

    server.client.post("/models/demo/unload")
    gone = scrape(server)
    assert gone("resident_bytes", where="host") < after("resident_bytes", where="host")
    assert (
        gone("evictions_total", kind="unload", reason="asked")
        > after("evictions_total", kind="unload", reason="asked") - 1
    )


def test_errors_are_counted_by_code_and_unknown_paths_without_their_text(server: Server) -> None:
    before = scrape(server)
    server.client.post("/generate/nope", json={"prompt": "x"})
    server.client.get("/nothing/here")
    server.client.post("/models/demo/unload", headers={"origin": "https://evil.example"})
    after = scrape(server)
    for code in ("unknown_model", "not_found", "cross_origin"):
        assert after("errors_total", code=code) == before("errors_total", code=code) + 1
    route = {"route": "/generate/{model_name}", "method": "POST", "status": "404"}
    assert after("requests_total", **route) == before("requests_total", **route) + 1
    nowhere = {"route": "", "method": "GET", "status": "404"}
    assert after("requests_total", **nowhere) == before("requests_total", **nowhere) + 1


def test_every_name_has_the_prefix_a_unit_and_a_description(server: Server) -> None:
    for name, family in scrape(server).families.items():
        assert name.startswith(PREFIX)
        assert family.documentation
        if family.type == "histogram":
            assert name.endswith("_seconds")


def test_a_scraper_that_prefers_openmetrics_gets_it(server: Server) -> None:
    accept = "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5"
    answer = server.client.get("/metrics", headers={"accept": accept})
    assert answer.headers["content-type"].startswith("application/openmetrics-text")
    families = [family.name for family in openmetrics.text_string_to_metric_families(answer.text)]
    assert f"{PREFIX}requests" in families


def test_scraping_is_documented_and_not_in_the_log(server: Server) -> None:
    scrape(server)
    assert '"path":"/metrics"' not in server.log.read_text()
    document: Any = server.client.get("/schema/openapi.json").json()
    assert list(document["paths"]["/metrics"]["get"]["responses"]["200"]["content"]) == ["text/plain"]


@pytest.mark.parametrize(
    ("event", "name", "labels", "value"),
    [
        (
            AssetPlaced(asset=A, components=("unet",), nbytes=7, seconds=1),
            "moved_bytes_total",
            {"direction": "host_to_device"},
            7,
        ),
        (
            AssetOffloaded(
                asset=A,
                components=("vae",),
                nbytes=7,
                seconds=0,
                reason=ROOM,
            ),
            "evictions_total",
            {"kind": "offload", "reason": "room"},
            1,
        ),
        (
            AssetUnloaded(asset=A, nbytes=7, seconds=0, reason=EvictionReason(cause=EvictionCause.UNUSED, idle_s=60)),
            "evictions_total",
            {"kind": "unload", "reason": "unused"},
            1,
        ),
        (
            AssetUnloaded(asset=A, nbytes=7, seconds=0, reason=EvictionReason(cause=EvictionCause.SHUTDOWN)),
            "evictions_total",
            {"kind": "unload", "reason": "shutdown"},
            1,
        ),
        (
            AssetLoadFailed(asset=A, code="download_failed", reason="no network"),
            "load_failures_total",
            {"model": "a", "code": "download_failed"},
            1,
        ),
        (
            AssetLoadFailed(asset=AssetKey("adapter", "x"), code="load_failed", reason="no rights"),
            "addition_load_failures_total",
            {"kind": "adapter", "name": "x", "code": "load_failed"},
            1,
        ),
    ],
)
def test_what_the_pool_tells_is_counted(event: PoolEvent, name: str, labels: dict[str, str], value: float) -> None:
    metrics = Metrics()
    metrics.on_event(event)
    text, _ = metrics.expose(None)
    assert Scrape(text.decode())(name, **labels) == value
