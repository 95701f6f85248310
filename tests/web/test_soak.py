"""Ten models in memory for three on a real server: a request gives the same image beside others as alone."""

import asyncio
import sys
from pathlib import Path

import pytest

from tests.conftest import Server, StartServer
from tests.load.clients import Clients
from tests.load.models import environment, write_models
from tests.load.plans import Ask, soak_plan
from tests.load.soak import FACTORY, GROWTH, Soak, SoakReport

MODELS, REQUESTS, CLIENTS = 10, 60, 8


@pytest.mark.skipif(sys.platform != "linux", reason="memory is read from /proc")
@pytest.mark.slow
def test_images_books_and_memory_survive_a_storm_of_clients(start_server: StartServer, tmp_path: Path) -> None:
    models = write_models(tmp_path, MODELS)
    asks = soak_plan(REQUESTS, models, seed=6)
    server = start_server(FACTORY, **environment(tmp_path))
    server.wait_until("/health/ready")
    report = asyncio.run(soak(server, models, asks))

    tally = report.tally
    assert tally.wrong == []
    assert (report.leases, report.waiting) == (0, 0)
    assert tally.finished == REQUESTS
    assert min(tally.left, tally.compared, tally.refused.total()) > 0, report
    assert report.evictions > MODELS
    assert report.most_resident == 3, report
    assert report.growth < GROWTH, report


async def soak(server: Server, models: list[str], asks: list[Ask]) -> SoakReport:
    async with Clients(server.url, CLIENTS) as clients:
        return await Soak(clients, server.process.pid, models, asks).run()
