"""Jobs outlive the server, on real processes that are killed."""

import base64
import io
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from tests.conftest import Server, StartServer
from tests.pictures import images_of
from tests.web.api.killed_servers import BODY, restarted
from tests.web.api.test_jobs import events_of, wait_for


def sent(server: Server, **stated: Any) -> str:
    answer = server.client.post("/jobs/demo", json={**BODY, **stated})
    assert answer.status_code == 202, answer.text
    return answer.headers["location"]


def picture() -> str:
    file = io.BytesIO()
    Image.effect_noise((128, 128), 60).convert("RGB").save(file, "PNG")
    return base64.b64encode(file.getvalue()).decode()


@pytest.mark.slow
def test_what_was_accepted_is_there_after_kill_9(tmp_path: Path) -> None:
    upload = {"image": picture(), "strength": 0.8, "num_inference_steps": 8}
    with restarted(tmp_path, LITESTAR_DIFFUSION__DISPATCH__MAX_ROWS="2") as servers:
        server = servers.server
        finished, key = sent(server), {"idempotency-key": "k"}
        before = wait_for(server, finished, "done")
        events = list(events_of(server, finished))
        keyed = server.client.post("/generate/demo", json={**BODY, "seed": None}, headers=key).json()
        alone = server.client.post("/generate/demo", json={**BODY, **upload}).json()
        running = sent(server, num_inference_steps=70)
        waiting = sent(server, **upload)
        wait_for(server, running, "running")
        known = next(event["id"] for event in events_of(server, running) if event["event"] == "step")
        server = servers.again()
        server.wait_until("/health/live")
        assert server.client.get(finished).json() == before
        told = list(events_of(server, finished))
        assert [event["event"] for event in told if event["event"] != "step"] == [
            event["event"] for event in events if event["event"] != "step"
        ]
        assert told[-1] == events[-1]
        assert images_of(server.client.post("/generate/demo", json={**BODY, "seed": None}, headers=key).json()) == (
            images_of(keyed)
        )
        later = list(events_of(server, running, known))
        assert later[0]["id"] > known
        assert [event["event"] for event in later if event["event"] in ("restarted", "done")] == ["restarted", "done"]
        ran, waited = wait_for(server, running, "done"), wait_for(server, waiting, "done")
        assert (ran["restarts"], waited["restarts"]) == (1, 0)
        assert images_of(waited["result"]) == images_of(alone)
        assert len(server.client.get("/jobs").json()) == 4


@pytest.mark.slow
def test_a_server_that_is_told_to_end_leaves_its_queue_to_the_next_one(tmp_path: Path) -> None:
    with restarted(tmp_path, LITESTAR_DIFFUSION__SERVER__SHUTDOWN_GRACE_S="0.2") as servers:
        urls = [sent(servers.server, num_inference_steps=100, seed=seed) for seed in range(3)]
        wait_for(servers.server, urls[0], "running")
        server = servers.again(signal.SIGTERM)
        server.wait_until("/health/live")
        assert [wait_for(server, url, "done")["restarts"] for url in urls] == [0, 0, 0]


def test_a_second_server_on_the_same_device_answers_for_jobs_and_says_why_it_makes_no_images(
    server: Server, start_server: StartServer
) -> None:
    url = sent(server)
    done = wait_for(server, url, "done")
    data = server.log.parent / "data"
    second = start_server(LITESTAR_DIFFUSION__JOBS__DIRECTORY=str(data))
    second.wait_until("/health/live")
    deadline = time.monotonic() + 60
    while (ready := second.client.get("/health/ready")).json()["status"] != "failed" and time.monotonic() < deadline:
        time.sleep(0.1)
    assert f"process {server.process.pid}" in ready.text
    refused = second.client.post("/generate/demo", json=BODY)
    assert (refused.status_code, refused.json()["code"]) == (503, "engine_failed")
    assert "device.name" in refused.json()["detail"]
    assert second.client.get(url).json() == done
    assert list(events_of(second, url)) == list(events_of(server, url))


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 6 MB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=6m", "tmpfs", str(folder)], capture_output=True)
    if mounted.returncode:
        pytest.skip(f"a disk that is full needs the right to mount one: {mounted.stderr.decode().strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


@pytest.mark.slow
def test_a_full_disk_refuses_jobs_loses_none_and_recovers_by_itself(tmp_path: Path, small_disk: Path) -> None:
    environment = {
        "LITESTAR_DIFFUSION__JOBS__DIRECTORY": str(small_disk / "jobs"),
        "LITESTAR_DIFFUSION__JOBS__MIN_FREE_BYTES": "0",
    }
    with restarted(tmp_path, **environment) as servers:
        server = servers.server
        early = sent(server, num_inference_steps=150)
        wait_for(server, early, "running")
        ballast = small_disk / "ballast"
        with ballast.open("wb", buffering=0) as file, suppress(OSError):
            while True:
                file.write(bytes(4096))
        refused = server.client.post("/jobs/demo", json={**BODY, "image": picture(), "strength": 0.5})
        assert (refused.status_code, refused.json()["code"]) == (503, "storage_unavailable"), refused.text
        assert refused.headers["retry-after"] == "30"
        assert server.client.post("/generate/demo", json=BODY).status_code == 200, "what is not kept needs no disk"
        assert server.client.get(early).json()["state"] == "running"
        ballast.unlink()
        assert images_of(wait_for(server, early, "done")["result"])
        later = sent(server)
        wait_for(server, later, "done")
        server = servers.again()
        server.wait_until("/health/live")
        assert [server.client.get(url).json()["state"] for url in (early, later)] == ["done", "done"]
