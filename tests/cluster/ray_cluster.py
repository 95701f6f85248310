"""A cluster of one machine for tests: `litestar-diffusion serve --ray`, its workers, and what clients ask of it."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

from tests.conftest import SETTINGS, free_port

START_S = 180
RED = {"prompt": "a red circle on a blue background", "seed": 7, "reproducible": True}
WORKER = b"ray::ServeReplica:litestar-diffusion:Workers"
CLUSTER = {
    "LITESTAR_DIFFUSION__CLUSTER__WORKERS": "2",
    "LITESTAR_DIFFUSION__CLUSTER__GPUS_PER_WORKER": "0",
    "LITESTAR_DIFFUSION__CLUSTER__CPUS_PER_WORKER": "0.5",
    "LITESTAR_DIFFUSION__DEVICE__NAME": "cpu",
    "LITESTAR_DIFFUSION__DEVICE__THREADS": "1",
}


@contextmanager
def serving(folder: Path, **settings: str) -> Iterator[tuple[httpx.Client, "subprocess.Popen[bytes]"]]:
    """`litestar-diffusion serve --ray` on this machine, with two workers unless the settings say otherwise."""
    port = free_port()
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "litestar_diffusion", "serve", "--ray", "--port", str(port)],
            cwd=folder,
            stdout=log,
            stderr=log,
            env={**os.environ, **SETTINGS, **CLUSTER, **settings},
            start_new_session=True,
        )
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=120) as client:
        try:
            wait_until_ready(client, process, folder / "log")
            yield client, process
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


def until_workers(count: int) -> bool:
    deadline = time.monotonic() + START_S
    while len(workers()) != count and time.monotonic() < deadline:
        time.sleep(0.5)
    return len(workers()) == count


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
