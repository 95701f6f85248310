"""Jobs outlive the server, on real processes that are killed."""

import base64
import io
import json
import random
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
import pytest
from PIL import Image

from tests.conftest import Server, StartServer, launch, stop
from tests.infra.jobs.postgres import postgres_server
from tests.pictures import images_of
from tests.web.api.test_jobs import events_of, wait_for

BODY = {"prompt": "a red circle on a blue background", "seed": 7, "reproducible": True}
PLENTY = {"LITESTAR_DIFFUSION__JOBS__MAX_ATTEMPTS": "1000"}


class Restarted:
    """One server after the other in the same folder."""

    def __init__(self, folder: Path, **environment: str) -> None:
        self.folder = folder
        self.environment = environment
        self.logs = list[str]()
        self.server = launch(folder, environment)

    def again(self, how: signal.Signals = signal.SIGKILL) -> Server:
        """End the server, and start the next one."""
        self.server.process.send_signal(how)
        self.server.process.wait(60)
        stop(self.server)
        self.logs.append(self.server.log.read_text())
        self.server = launch(self.folder, self.environment)
        return self.server

    def logged(self) -> list[dict[str, Any]]:
        """Return the lines of all logs; the last one of a server that was killed may be cut."""
        lines = "\n".join([*self.logs, self.server.log.read_text()]).splitlines()
        return [json.loads(line) for line in lines if line.startswith("{") and line.endswith("}")]


@contextmanager
def restarted(folder: Path, **environment: str) -> Iterator[Restarted]:
    servers = Restarted(folder, **environment)
    try:
        servers.server.wait_until("/health/ready")
        yield servers
    finally:
        stop(servers.server)


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


@pytest.mark.slow
@pytest.mark.parametrize("database", ["sqlite", "postgresql"])
def test_every_accepted_job_ends_once_with_its_image_although_the_server_is_killed_20_times(
    database: str, tmp_path: Path
) -> None:
    """Kill -9 at random moments, also while the server starts, under load; the seed of the moments is printed."""
    seed = random.randrange(2**32)
    print(f"seed of the moments: {seed}")  # noqa: T201 - shown if the test fails
    moments = random.Random(seed)
    with ExitStack() as stack:
        environment = dict(PLENTY)
        if database == "postgresql":
            url = stack.enter_context(postgres_server())
            environment["LITESTAR_DIFFUSION__JOBS__DATABASE"] = url
        folder = tmp_path / "server"
        folder.mkdir()
        servers = stack.enter_context(restarted(folder, **environment))
        alone = {
            number: images_of(servers.server.client.post("/generate/demo", json=_body(number)).json())
            for number in range(_BODIES)
        }
        accepted = dict[str, int]()
        for _ in range(20):
            _load_for(servers.server, moments.uniform(0, 2), accepted, moments)
            servers.again()
            if moments.random() < 0.6:  # otherwise it is killed while it starts
                servers.server.wait_until("/health/ready")
        servers.server.wait_until("/health/ready")
        assert len(accepted) > 20
        deadline = time.monotonic() + 300
        for url, number in accepted.items():
            job = _ended(servers.server, url, deadline)
            assert job["state"] == "done", job["problem"]
            assert images_of(job["result"]) == alone[number]
            kinds = [event["event"] for event in events_of(servers.server, url)]
            assert kinds.count("done") == 1
        ended = servers.server.client.get("/jobs", params={"limit": 500}).json()
        assert {job["url"] for job in ended} >= set(accepted)
        times = Counter(line["job"] for line in servers.logged() if line.get("event") == "job_ended")
        assert set(times.values()) == {1}, "a job that ended twice"
        restarts = sum(job["restarts"] for job in ended)
        assert restarts > 0, "no job ran when a server was killed"
        print(f"{len(accepted)} accepted jobs, {restarts} runs cut off")  # noqa: T201 - shown with `pytest -s`


def _ended(server: Server, url: str, deadline: float) -> dict[str, Any]:
    while (job := server.client.get(url).json())["ended"] is None and time.monotonic() < deadline:
        time.sleep(0.1)
    return job


_BODIES = 4


def _body(number: int) -> dict[str, Any]:
    return {**BODY, "seed": number, "num_inference_steps": 8 + 4 * number, "n": 1 + number % 2}


def _load_for(server: Server, seconds: float, accepted: dict[str, int], moments: random.Random) -> None:
    """Send jobs one after the other; only those count whose acceptance was answered."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        number = moments.randrange(_BODIES)
        try:
            answer = server.client.post("/jobs/demo", json=_body(number), timeout=2)
        except httpx.TransportError:
            time.sleep(0.05)
            continue
        if answer.status_code == 202:
            accepted[answer.headers["location"]] = number
        time.sleep(0.2)
