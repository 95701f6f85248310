"""A storm of requests against a server that fails on purpose: `uv run python benchmarks/torture.py`.

Starts a server of its own with the built-in models, in memory for one of them, asks for each distinct request alone, then for
everything at once; every image must be that of the request alone, every request gets one answer, and the server ends healthy.
Ends with 1 if anything is wrong.
"""

import argparse
import asyncio
import sys
import tempfile
import time
from pathlib import Path

import httpx
from rich.console import Console
from rich.status import Status
from rich.table import Table

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.arguments import count
from benchmarks.server import server
from tests.load.clients import Clients, Tally
from tests.load.models import ONE_MODEL
from tests.load.plans import Ask, storm_plan
from tests.load.soak import FACTORY
from tests.pictures import SHARED_PSNR

_START_S = 120


def main() -> None:
    """Rage and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=count, default=1000, help="in the storm (default: 1000)")
    parser.add_argument("--distinct", type=count, default=150, help="that differ (default: 150)")
    parser.add_argument("--clients", type=count, default=8, help="at once (default: 8)")
    parser.add_argument("--seed", type=int, default=0, help="of the storm (default: 0)")
    options = parser.parse_args()
    console = Console(stderr=True)
    asks = storm_plan(options.requests, options.distinct, options.seed)
    with (
        console.status("starting a server") as status,
        tempfile.TemporaryDirectory() as folder,
        server(Path(folder), ONE_MODEL, FACTORY) as started,
    ):
        started.wait_until_ok("/health/ready", _START_S)
        table = Table("figure", "value", title=f"{options.requests} requests from {options.clients} clients")
        tally = asyncio.run(_storm(started.url, asks, options.clients, table, status))
        leases = httpx.get(f"{started.url}/pool").json()["leases"]
        healthy = httpx.get(f"{started.url}/health/ready").status_code == 200
    _add(table, tally)
    table.add_row("leases left", str(leases))
    table.add_row("healthy", "yes" if healthy else "no")
    Console().print(table)
    for line in tally.wrong:
        console.print(line, markup=False)
    sys.exit(bool(tally.wrong) or not healthy or leases != 0)


async def _storm(url: str, asks: list[Ask], count: int, table: Table, status: Status) -> Tally:
    async with Clients(url, count, on_progress=status.update) as clients:
        begun = time.monotonic()
        distinct = await clients.ask_alone(asks)
        table.add_row(f"{distinct} distinct requests, one after the other", f"{time.monotonic() - begun:.1f} s")
        begun = time.monotonic()
        await clients.storm(asks)
        table.add_row("the storm", f"{time.monotonic() - begun:.1f} s")
        return clients.tally


def _add(table: Table, tally: Tally) -> None:
    table.add_row("answered, and compared", str(tally.compared))
    table.add_row("refused as injected", str(tally.refused.total()))
    table.add_row("clients that left", str(tally.left))
    table.add_row(f"least like (at least {SHARED_PSNR:g} dB, equal if reproducible)", f"{tally.lowest_psnr_db:.1f} dB")
    table.add_row("wrong", str(len(tally.wrong)))


if __name__ == "__main__":
    main()
