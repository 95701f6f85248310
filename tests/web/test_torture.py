"""A storm: many clients, failures built in, clients that leave; every image is the one that its request gives alone."""

import re
import time

import httpx

from benchmarks.storm import alone, asks, rage
from benchmarks.torture import ONE_MODEL
from tests.conftest import ROOT, StartServer


def test_every_request_of_a_storm_gets_its_own_image_or_its_own_error(start_server: StartServer) -> None:
    server = start_server("benchmarks.injecting:create_app", **ONE_MODEL, PYTHONPATH=str(ROOT))
    server.wait_until("/health/ready")
    everything = asks(seed=1, count=200, distinct=40)
    expected = alone(server.url, everything)
    outcome = rage(server.url, everything, expected, clients=8)
    assert not outcome.wrong, "\n".join(outcome.wrong)
    assert outcome.answered + outcome.left + outcome.refused_as_injected == len(everything)
    assert min(outcome.answered, outcome.left, outcome.refused_as_injected) > 0
    assert _most_rows(server.client) > 2, "nobody shared a step"
    _ends_in_peace(server.client)
    assert server.client.get("/health/ready").status_code == 200
    calm = next(ask for ask in everything if not ask.becomes_nan)
    assert alone(server.url, [calm]) == {calm.key: expected[calm.key]}


def _most_rows(client: httpx.Client) -> int:
    found = re.findall(r'litestar_diffusion_steps_total\{rows="(\d+)"\}', client.get("/metrics").text)
    return max(int(rows) for rows in found)


def _ends_in_peace(client: httpx.Client, timeout_s: float = 30) -> None:
    """Whoever left is forgotten: nothing waits, nothing is leased, nothing is reserved."""
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        pool, service = client.get("/pool").json(), client.get("/").json()
        if (pool["leases"], pool["waiting"], pool["reserved_nbytes"], service["waiting"]) == (0, 0, 0, 0):
            return
        time.sleep(0.1)
    raise AssertionError(f"the server is not at rest: {pool} {service}")
