"""A storm: many clients, injected failures, clients that leave; every image is the one that its request gives alone."""

import asyncio
import re
import time

import httpx
import pytest

from tests.conftest import StartServer
from tests.load.clients import Clients, Tally
from tests.load.models import ONE_MODEL
from tests.load.plans import Ask, storm_plan
from tests.load.soak import FACTORY

REQUESTS, DISTINCT, CLIENTS = 200, 40, 8


@pytest.mark.slow
def test_every_request_of_a_storm_gets_its_own_image_or_its_own_error(start_server: StartServer) -> None:
    server = start_server(FACTORY, **ONE_MODEL)
    server.wait_until("/health/ready")
    asks = storm_plan(REQUESTS, DISTINCT, seed=1)
    tally = asyncio.run(storm(server.url, asks))
    assert not tally.wrong, "\n".join(tally.wrong)
    assert tally.finished == REQUESTS
    assert min(tally.compared, tally.left, tally.refused.total()) > 0
    assert most_rows(server.client) > 2, "no two requests shared a step"
    wait_for_rest(server.client)
    assert server.client.get("/health/ready").status_code == 200


async def storm(url: str, asks: list[Ask]) -> Tally:
    """Storm a server; afterwards a request alone still gives the image that it gave before."""
    async with Clients(url, CLIENTS) as clients:
        await clients.ask_alone(asks)
        await clients.storm(asks)
        calm = next(ask for ask in asks if ask.outcome == "image")
        compared = clients.tally.compared
        await clients.storm([Ask(calm.model, {**calm.body, "reproducible": True}, "image")])
        assert clients.tally.compared == compared + 1, clients.tally.wrong
        clients.tally.compared = compared
        return clients.tally


def most_rows(client: httpx.Client) -> int:
    found = re.findall(r'litestar_diffusion_steps_total\{rows="(\d+)"\}', client.get("/metrics").text)
    return max(int(rows) for rows in found)


def wait_for_rest(client: httpx.Client, timeout_s: float = 30) -> None:
    """Wait until nothing waits, nothing is leased, nothing is reserved."""
    deadline = time.monotonic() + timeout_s
    while True:
        pool, service = client.get("/pool").json(), client.get("/").json()
        if (pool["leases"], pool["waiting"], pool["reserved_nbytes"], service["waiting"]) == (0, 0, 0, 0):
            return
        assert time.monotonic() < deadline, f"the server is not at rest: {pool} {service}"
        time.sleep(0.1)
