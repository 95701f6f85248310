"""Two workers behind Ray Serve on this machine, driven over HTTP. `uv run --extra ray pytest tests/cluster -m ""`."""

import itertools
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.conftest import ROOT, SETTINGS, free_port
from tests.pictures import images_of, seen_in

pytest.importorskip("ray", reason="the extra `ray` is not installed")
pytestmark = pytest.mark.slow

START_S = 180
MODELS = ("demo", "demo-vpred", "demo-turbo")
RED = {"prompt": "a red circle on a blue background", "seed": 7, "reproducible": True}
WORKER = b"ray::ServeReplica:litestar-diffusion:Workers"
CLUSTER = {
    "LITESTAR_DIFFUSION__CLUSTER__WORKERS": "2",
    "LITESTAR_DIFFUSION__CLUSTER__GPUS_PER_WORKER": "0",
    "LITESTAR_DIFFUSION__CLUSTER__CPUS_PER_WORKER": "0.5",
    "LITESTAR_DIFFUSION__DEVICE__NAME": "cpu",
    "LITESTAR_DIFFUSION__DEVICE__THREADS": "1",
}


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    folder, port = tmp_path_factory.mktemp("ray"), free_port()
    command = [sys.executable, "-m", "litestar_diffusion", "serve", "--ray", "--port", str(port)]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            command,
            cwd=folder,
            stdout=log,
            stderr=log,
            env={**os.environ, **SETTINGS, **CLUSTER},
            start_new_session=True,
        )
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=120) as client:
        try:
            wait_until_ready(client, process, folder / "log")
            yield client
        finally:
            process.terminate()
            process.wait(60)


def wait_until_ready(client: httpx.Client, process: "subprocess.Popen[bytes]", log: Path) -> None:
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline:
        assert process.poll() is None, log.read_text()[-4000:]
        try:
            # An image, and not readiness alone, which says nothing of the workers.
            if client.post("/generate/demo", json={"prompt": "x", "num_inference_steps": 1}).status_code == 200:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.5)
    raise AssertionError(log.read_text()[-4000:])


def workers() -> list[int]:
    """Ids of the processes that are workers."""
    found = list[int]()
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if (folder / "cmdline").read_bytes().startswith(WORKER):
                found.append(int(folder.name))
        except OSError:
            continue
    return found


def generate(client: httpx.Client, model: str, **stated: Any) -> dict[str, Any]:
    answer = client.post(f"/generate/{model}", json={**RED, **stated})
    assert answer.status_code == 200, answer.text
    return answer.json()


def ended(client: httpx.Client, url: str) -> dict[str, Any]:
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        job = client.get(url).json()
        if job["state"] in ("done", "failed", "cancelled"):
            return job
        time.sleep(0.1)
    raise AssertionError(f"{url} does not end")


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
    deadline = time.monotonic() + START_S
    while len(workers()) < 2 and time.monotonic() < deadline:
        time.sleep(0.5)
    assert len(workers()) == 2, "Ray starts another one"
