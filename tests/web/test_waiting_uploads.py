"""Pictures of requests that wait are on disk, and gone with their requests; `benchmarks/waiting_bodies.py` sends more of them."""

import asyncio
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from tests.conftest import ROOT, StartServer
from tests.load.soak import own_nbytes
from tests.load.uploads import FACTORY, WAYS, noise, waiting

pytestmark = [pytest.mark.slow, pytest.mark.skipif(sys.platform != "linux", reason="files are looked for in /proc")]

KEPT_NBYTES = 64 * 1024**2
"""Decoded pixels that are kept; see `infra/pictures/recent.py`."""


def on_disk_nbytes(pid: int) -> int:
    """Bytes of the files that a process has open and that no folder lists."""
    nbytes = 0
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(FileNotFoundError):  # closed since
            nbytes += entry.stat().st_size * str(entry.readlink()).endswith("(deleted)")
    return nbytes


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not holds():  # noqa: ASYNC110 - another process says nothing of itself
            await asyncio.sleep(0.1)


def test_pictures_of_waiting_requests_are_on_disk_and_not_in_memory(start_server: StartServer, tmp_path: Path) -> None:
    spool = tmp_path / "spool"
    spool.mkdir()
    server = start_server(FACTORY, TMPDIR=str(spool), PYTHONPATH=str(ROOT))
    server.wait_until("/health/ready")
    pid, pictures = server.process.pid, [noise(seed, 1600) for seed in range(16)]
    sent_nbytes = sum(map(len, pictures))

    async def scenario() -> None:
        before = own_nbytes(pid)
        async with waiting(server.url, pictures, WAYS):
            await until(lambda: on_disk_nbytes(pid) == sent_nbytes)
            assert list(spool.iterdir()) == [], "a name would outlive a process that is killed"
            await until(lambda: own_nbytes(pid) - before < KEPT_NBYTES + sent_nbytes)
        # The two requests that run keep their pictures until their device answers, which it never does here.
        await until(lambda: on_disk_nbytes(pid) <= 2 * len(pictures[0]))

    try:
        asyncio.run(scenario())
    finally:
        server.process.kill()  # its device never ends a step
