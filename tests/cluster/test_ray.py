"""Two workers behind Ray Serve on this machine, driven over HTTP. `uv run --extra ray pytest tests/cluster -m ""`."""

import itertools
import os
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from tests.cluster.ray_cluster import RED, ended, generate, serving, until_workers, workers
from tests.conftest import ROOT
from tests.pictures import images_of, seen_in

pytest.importorskip("ray", reason="the extra `ray` is not installed")
pytestmark = pytest.mark.slow

MODELS = ("demo", "demo-vpred", "demo-turbo")


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    with serving(tmp_path_factory.mktemp("ray")) as (client, _):
        yield client


def test_requests_find_a_worker_that_has_their_model_and_workers_make_the_same(cluster: httpx.Client) -> None:
    first = {model: generate(cluster, model) for model in MODELS}
    assert seen_in(images_of(first["demo"])[0]).figures[0].colour == "red"
    with ThreadPoolExecutor(8) as clients:
        answers = list(
            clients.map(lambda model: generate(cluster, model), itertools.islice(itertools.cycle(MODELS), 48))
        )
    for answer in answers:
        assert images_of(answer) == images_of(first[answer["model"]])
    hits = [answer["residency"] == "hot" for answer in answers]
    assert sum(hits) >= 0.8 * len(hits)


def test_events_previews_and_cancelling_go_through_the_ingress(cluster: httpx.Client) -> None:
    body = {**RED, "num_inference_steps": 150, "width": 256, "height": 256, "previews": True}
    url = cluster.post("/jobs/demo", json=body).headers["location"]
    kinds, cancelled = list[str](), False
    with cluster.stream("GET", f"{url}/events") as events:
        for line in events.iter_lines():
            if line.startswith("event: "):
                kinds.append(line.removeprefix("event: "))
            if "preview" in kinds and not cancelled:
                cancelled = cluster.delete(url).is_success
            if "cancelled" in kinds:
                break
    assert kinds[0] == "queued"
    assert ended(cluster, url)["state"] == "cancelled"
    assert generate(cluster, "demo")["timings"]["queue_ms"] < 5000, "the cancelled job is not waited for"


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of Ray's own models
def test_the_config_file_is_what_serve_accepts_and_builds(tmp_path: Path) -> None:
    import yaml
    from ray.serve.schema import ServeDeploySchema

    from litestar_diffusion.cluster import app

    config = ServeDeploySchema.model_validate(yaml.safe_load((ROOT / "deploy" / "ray" / "serve.yaml").read_text()))
    [application] = config.applications
    assert (application.import_path, set(application.args)) == ("litestar_diffusion.cluster:app", {"settings"})
    file = tmp_path / "settings.toml"
    file.write_text("[cluster]\nworkers = 2\nmax_workers = 4\n")
    built = app({"settings": str(file)})
    assert built._bound_deployment.name == "Ingress"


def test_a_dry_run_and_an_error_are_those_of_a_worker(cluster: httpx.Client) -> None:
    planned = cluster.post("/generate/demo?dry_run=true", json=RED)
    assert planned.status_code == 200, planned.text
    assert planned.json()["memory"]["available_nbytes"] > 0
    refused = cluster.post("/generate/demo", json={**RED, "num_inference_steps": 10_000})
    assert (refused.status_code, refused.json()["errors"][0]["field"]) == (400, "num_inference_steps")


def test_jobs_of_a_worker_that_is_killed_run_again_and_end_once(cluster: httpx.Client) -> None:
    expected = {model: images_of(generate(cluster, model, num_inference_steps=30)) for model in MODELS}
    before = workers()
    assert len(before) == 2
    models = list(itertools.islice(itertools.cycle(MODELS), 24))
    with ThreadPoolExecutor(8) as clients:
        sent = clients.map(
            lambda model: cluster.post(f"/jobs/{model}", json={**RED, "num_inference_steps": 30}).json(), models
        )
        jobs = list(sent)
    os.kill(before[0], signal.SIGKILL)
    for job in jobs:
        found = ended(cluster, job["url"])
        assert found["state"] == "done", found["problem"]
        assert images_of(found["result"]) == expected[job["model"]]
    listed = [each["id"] for each in cluster.get("/jobs", params={"limit": 500}).json()]
    assert {job["id"] for job in jobs} <= set(listed)
    assert len(listed) == len(set(listed))
    assert until_workers(2), "Ray starts another one"
