"""Servers that are killed and started again in the same folder."""

import json
import random
import signal
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

from tests.conftest import Server, launch, stop
from tests.pictures import images_of
from tests.web.api.test_jobs import events_of

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


def kill_20_times(folder: Path, **environment: str) -> int:
    """Kill -9 at random moments, also while the server starts, under load: every accepted job ends once, with its image.

    The seed of the moments is printed.

    Returns:
        How many runs were cut off.
    """
    seed = random.randrange(2**32)
    print(f"seed of the moments: {seed}")  # noqa: T201 - shown if the test fails
    moments = random.Random(seed)
    with restarted(folder, **PLENTY, **environment) as servers:
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
        print(f"{len(accepted)} accepted jobs, {restarts} runs cut off")  # noqa: T201 - shown with `pytest -s`
        return restarts


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
