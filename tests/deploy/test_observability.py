"""Each query of the dashboard and of the alerts, run by Prometheus itself on what a real server's /metrics says."""

import json
import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from litestar_diffusion.domain import errors
from tests.conftest import ROOT, Server, free_port

FOLDER = ROOT / "deploy" / "observability"
ALERTS = FOLDER / "alerts.yaml"
BODY = {"prompt": "x", "seed": 1, "num_inference_steps": 1}
CONFIG = """
global: {{scrape_interval: 1s}}
rule_files: ["{alerts}"]
scrape_configs:
  - job_name: litestar-diffusion
    static_configs: [{{targets: ["{target}"]}}]
"""
SILENT = {"litestar_diffusion_load_failures_total"}
"""Series that a healthy server does not have: a label set appears with its first failure."""


def dashboard_queries() -> list[str]:
    """The queries as Grafana sends them, with its variables filled in."""
    dashboard = json.loads((FOLDER / "dashboard.json").read_text())
    found = [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]
    return [query.replace("$__rate_interval", "1m").replace("$instance", ".*") for query in found]


def alert_queries() -> list[str]:
    yaml = pytest.importorskip("yaml", reason="uv sync --group deploy")
    groups = yaml.safe_load(ALERTS.read_text())["groups"]
    return [rule["expr"] for group in groups for rule in group["rules"]]


def without_threshold(query: str) -> str:
    """An alert's query without the comparisons that keep it silent on a healthy server."""
    return re.sub(r"(==|>|<) [\d.]+(?![\w.])", "", query)


def installed(name: str) -> str:
    found = shutil.which(name)
    if found is None:
        pytest.skip(f"{name} is not installed: apt-get install prometheus")
    return found


@pytest.fixture(scope="module")
def prometheus(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    """A Prometheus that scrapes a server which has made images and refused requests."""
    program, folder, port = installed("prometheus"), tmp_path_factory.mktemp("prometheus"), free_port()
    config = folder / "prometheus.yml"
    config.write_text(CONFIG.format(alerts=ALERTS, target=server.url.removeprefix("http://")))
    command = [program, f"--config.file={config}", f"--storage.tsdb.path={folder}/data"]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen([*command, f"--web.listen-address=127.0.0.1:{port}"], stdout=log, stderr=log)
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}/api/v1", timeout=30) as client:
            _fill(server, client)
            yield client
    finally:
        process.terminate()
        process.wait(30)


def _fill(server: Server, client: httpx.Client) -> None:
    """Have series of every kind grow between two scrapes."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        server.client.post("/generate/demo", json=BODY)
        server.client.post("/generate/nope", json=BODY)
        server.client.post("/models/demo/unload")
        try:
            if len(result(client, 'increase(litestar_diffusion_evictions_total{kind="unload"}[1m]) > 0')):
                return
        except httpx.TransportError:
            continue
    raise AssertionError("Prometheus got no series that grow")


def result(client: httpx.Client, query: str) -> list[Any]:
    answer = client.get("/query", params={"query": query}).json()
    assert answer["status"] == "success", (query, answer)
    return answer["data"]["result"]


@pytest.mark.slow
def test_every_query_of_the_dashboard_has_a_value(prometheus: httpx.Client) -> None:
    empty = [query for query in dashboard_queries() if not result(prometheus, query)]
    assert [query for query in empty if not any(name in query for name in SILENT)] == []


@pytest.mark.slow
def test_every_alert_has_a_value_to_compare_and_a_healthy_server_raises_none_that_is_critical(
    prometheus: httpx.Client,
) -> None:
    for query in alert_queries():
        if not any(name in query for name in SILENT) and "errors_total" not in query:
            assert result(prometheus, without_threshold(query)), query
        else:
            result(prometheus, query)
    rules = prometheus.get("/rules").json()["data"]["groups"][0]["rules"]
    assert [rule["lastError"] for rule in rules if rule.get("lastError")] == []
    firing = [rule["name"] for rule in rules if rule["state"] == "firing" and rule["labels"]["severity"] == "critical"]
    assert firing == []


def test_promtool_accepts_the_rules() -> None:
    done = subprocess.run(
        [installed("promtool"), "check", "rules", str(ALERTS)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_codes_that_alerts_name_are_those_of_errors() -> None:
    codes = {error.code for error in vars(errors).values() if isinstance(error, type) and hasattr(error, "code")}
    named = {
        code for query in alert_queries() for each in re.findall(r'code=~"([^"]+)"', query) for code in each.split("|")
    }
    assert named
    assert named <= codes


def test_panels_do_not_overlap() -> None:
    dashboard = json.loads((FOLDER / "dashboard.json").read_text())
    taken: set[tuple[int, int]] = set()
    for panel in dashboard["panels"]:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken, panel["title"]
        assert place["x"] + place["w"] <= 24
        taken |= cells


def test_the_files_stand_in_the_documentation() -> None:
    text = Path(ROOT / "docs" / "deployment.md").read_text()
    assert all(f"deploy/observability/{name}" in text for name in ("alerts.yaml", "dashboard.json"))
