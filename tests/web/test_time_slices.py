"""One client's huge request on a real server does not keep the small ones of another waiting."""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest

from litestar_diffusion.domain.access.api_key import hash_of, new_key
from tests.conftest import StartServer

pytestmark = pytest.mark.slow

KEYS = {name: new_key() for name in ("greedy", "modest")}
HUGE = {"prompt": "a red circle", "width": 2048, "height": 2048, "n": 8, "num_inference_steps": 150}
SMALL = {"prompt": "a red circle", "width": 64, "height": 64, "num_inference_steps": 2}
OVER = {"done", "failed", "cancelled"}


@contextmanager
def running(client: httpx.Client, body: dict[str, Any]) -> Iterator[str]:
    """A job from its first step on; cancelled at the end."""
    url = client.post("/jobs/demo", json=body).raise_for_status().headers["location"]
    try:
        deadline = time.monotonic() + 120
        while not (job := client.get(url).json())["steps_done"]:
            assert job["state"] not in OVER, job
            assert time.monotonic() < deadline, "no step in two minutes"
            time.sleep(0.1)
        yield url
    finally:
        client.delete(url)


def test_small_requests_are_answered_while_a_huge_one_runs(start_server: StartServer) -> None:
    keys = {name: {"hash": hash_of(key), "scopes": ["generate"]} for name, key in KEYS.items()}
    server = start_server(LITESTAR_DIFFUSION__KEYS=json.dumps(keys))
    server.wait_until("/health/ready")
    greedy, modest = (
        httpx.Client(base_url=server.url, timeout=120, headers={"X-API-Key": KEYS[name]}) for name in KEYS
    )
    with greedy, modest, running(greedy, HUGE) as url:
        for seed in range(3):
            modest.post("/generate/demo", json={**SMALL, "seed": seed}).raise_for_status()
        huge = greedy.get(url).json()
        assert huge["state"] not in OVER
        assert 0 < huge["steps_done"] < huge["steps_total"] == 8 * 150
