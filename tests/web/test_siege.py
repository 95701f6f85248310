"""Polite clients are served among slow, broken and greedy ones; `benchmarks/soak.py` does the same for as long as it is told."""

import asyncio
import sys

import pytest

from tests.conftest import StartServer
from tests.load.siege import Siege

pytestmark = [pytest.mark.slow, pytest.mark.skipif(sys.platform != "linux", reason="needs all of 127.0.0.0/8")]

SERVER = {"MAX_CONNECTIONS": "60", "MAX_CONNECTIONS_PER_ADDRESS": "20", "HEADER_TIMEOUT_S": "2", "BODY_TIMEOUT_S": "2"}


def test_polite_clients_are_served_among_hostile_ones(start_server: StartServer) -> None:
    settings = {f"LITESTAR_DIFFUSION__SERVER__{name}": value for name, value in SERVER.items()}
    server = start_server(**settings, LITESTAR_DIFFUSION__LIMITS__MAX_BUFFERED_BYTES="10000000")
    server.wait_until("/health/ready")
    siege = Siege(server.url, int(server.url.rpartition(":")[2]), server.process.pid)
    report = asyncio.run(siege.run(10, polite=2, scale=2))
    assert not report.wrong
    assert report.health_failures == report.leases == 0
    assert report.images > report.jobs > 0
    assert len(report.kinds) > 3, "pictures, adapters and second passes among texts"
    assert len(report.acts) > 8, "all kinds of clients were there"
    assert "Traceback" not in server.log.read_text()
