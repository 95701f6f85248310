"""A storm of requests against a server that fails on purpose: `uv run python benchmarks/torture.py`.

Starts a server of its own with the built-in models, in memory for one of them, asks for each distinct request alone, then for
everything at once; every image must be that of the request alone, every request gets one answer, and the server ends healthy.
Ends with 1 if anything is wrong.
"""

import argparse
import sys
import tempfile
import time
from pathlib import Path

import httpx
from rich.console import Console
from rich.table import Table

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.arguments import count
from benchmarks.server import server
from benchmarks.storm import SHARED_PSNR_DB, Outcome, alone, asks, rage

_ROOT = Path(__file__).parents[1]
_START_S = 120
ONE_MODEL = {"LITESTAR_DIFFUSION__MODELS__DEFAULT": "", "LITESTAR_DIFFUSION__MEMORY__HOST": "60000000"}
"""Memory for one of the two models and a batch of images."""


def main() -> None:
    """Rage and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=count, default=1000, help="in the storm (default: 1000)")
    parser.add_argument("--distinct", type=count, default=150, help="that differ (default: 150)")
    parser.add_argument("--clients", type=count, default=8, help="at once (default: 8)")
    parser.add_argument("--seed", type=int, default=0, help="of the storm (default: 0)")
    options = parser.parse_args()
    console = Console(stderr=True)
    everything = asks(options.seed, options.requests, options.distinct)
    with (
        tempfile.TemporaryDirectory() as folder,
        server(Path(folder), {"PYTHONPATH": str(_ROOT), **ONE_MODEL}, "benchmarks.injecting:create_app") as started,
    ):
        url = started.url
        started.wait_until_ok("/health/ready", _START_S)
        with console.status("asking for each request alone"):
            begun = time.monotonic()
            expected = alone(url, everything)
            alone_s = time.monotonic() - begun
        with console.status("raging"):
            begun = time.monotonic()
            outcome = rage(url, everything, expected, options.clients)
            raged_s = time.monotonic() - begun
        pool = httpx.get(f"{url}/pool").json()
        healthy = httpx.get(f"{url}/health/ready").status_code == 200
    table = Table("figure", "value", title=f"{options.requests} requests from {options.clients} clients")
    table.add_row(f"{len(expected)} distinct requests, one after the other", f"{alone_s:.1f} s")
    table.add_row("the storm", f"{raged_s:.1f} s")
    _add(table, outcome)
    table.add_row("leases left", str(pool["leases"]))
    table.add_row("healthy", "yes" if healthy else "no")
    Console().print(table)
    for line in outcome.wrong:
        console.print(line, markup=False)
    sys.exit(bool(outcome.wrong) or not healthy or pool["leases"] != 0)


def _add(table: Table, outcome: Outcome) -> None:
    table.add_row("answered, and compared", str(outcome.answered))
    table.add_row("refused as injected", str(outcome.refused_as_injected))
    table.add_row("clients that left", str(outcome.left))
    table.add_row(
        f"least like (at least {SHARED_PSNR_DB:g} dB, equal where reproducible)", f"{outcome.lowest_psnr_db:.1f} dB"
    )
    table.add_row("wrong", str(len(outcome.wrong)))


if __name__ == "__main__":
    main()
