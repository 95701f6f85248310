"""Ten models in memory for three on a real server: whatever happens beside a request, its image is the one it gives alone."""

import asyncio
import sys
from pathlib import Path

import pytest

from benchmarks.soaking import FACTORY, GROWTH, Soak, environment, plan, write_models
from tests.conftest import StartServer

MODELS, REQUESTS, CLIENTS = 10, 60, 8


@pytest.mark.skipif(sys.platform != "linux", reason="memory is read from /proc")
def test_images_books_and_memory_survive_a_storm_of_clients(start_server: StartServer, tmp_path: Path) -> None:
    models = write_models(tmp_path, MODELS)
    asks = plan(REQUESTS, models, seed=6)
    server = start_server(FACTORY, **environment(tmp_path))
    server.wait_until("/health/ready")
    report = asyncio.run(Soak(server.url, server.process.pid, models, asks, clients=CLIENTS).run())

    assert report.wrong == []
    assert (report.leases, report.waiting) == (0, 0)
    assert report.left + report.equal + report.refused.total() == REQUESTS
    assert min(report.left, report.equal, report.refused.total()) > 0, report
    assert report.evictions > MODELS
    assert report.most_resident == 3, report
    assert report.growth < GROWTH, report
