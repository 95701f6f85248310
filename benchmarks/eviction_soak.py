"""Ten models in memory for three, under fire: `uv run python benchmarks/eviction_soak.py`.

Starts a server of its own with ten variants of the demo model. Clients ask for mixed images at the same time; some leave early,
some ask for what runs out of memory, comes out as NaN or is refused. Every image must equal the one that the same request gives
alone; afterwards no lease is out, nothing waits, the books are in order and memory is where it was. Exits with 1 if not. Linux
only.
"""

import argparse
import asyncio
import sys
import tempfile
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.status import Status
from rich.table import Table

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.arguments import count
from benchmarks.server import Started, server
from tests.load.clients import Clients
from tests.load.models import environment, write_models
from tests.load.plans import Ask, soak_plan
from tests.load.soak import FACTORY, GROWTH, Soak, SoakReport

_MODELS = 10
_START_S = 120.0
_SHOWN = 10


def main() -> None:
    """Soak, print, and fail if something is wrong."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=count, default=500, help="(default: 500)")
    parser.add_argument("--clients", type=count, default=8, help="that ask at the same time (default: 8)")
    parser.add_argument("--seed", type=int, default=0, help="of the requests (default: 0)")
    options = parser.parse_args()
    console = Console(stderr=True)
    with tempfile.TemporaryDirectory() as folder, console.status("writing models") as status:
        models = write_models(Path(folder), _MODELS)
        asks = soak_plan(options.requests, models, options.seed)
        with server(Path(folder), environment(Path(folder)), FACTORY) as started:
            status.update("starting a server")
            started.wait_until_ok("/health/ready", _START_S)
            report = asyncio.run(_soak(started, models, asks, options.clients, status))
    Console().print(_table(report, options.clients))
    for line in report.tally.wrong[:_SHOWN]:
        console.print(f"[red]wrong:[/red] {escape(line)}")
    sys.exit(bool(report.tally.wrong) or report.growth > GROWTH)


async def _soak(started: Started, models: list[str], asks: list[Ask], count: int, status: Status) -> SoakReport:
    async with Clients(started.url, count, on_progress=status.update) as clients:
        return await Soak(clients, started.process.pid, models, asks).run()


def _table(report: SoakReport, clients: int) -> Table:
    table = Table("figure", "value", title=f"{_MODELS} models in memory for three")
    tally = report.tally
    refused = ", ".join(f"{count} {code}" for code, count in sorted(tally.refused.items()))
    rows = {
        f"requests from {clients} clients": report.requests,
        "clients that left early": tally.left,
        "failed as they had to": f"{tally.refused.total()}: {refused}",
        "images, equal to the same request's alone": tally.compared,
        "wrong": len(tally.wrong),
        "leases left, requests left": f"{report.leases}, {report.waiting}",
        "most models in memory at once": report.most_resident,
        "evictions": report.evictions,
        "own memory without models, after the warm-up": f"{report.own_begin_nbytes / 1e6:.0f} MB",
        "own memory without models, at the end": f"{report.own_end_nbytes / 1e6:.0f} MB ({report.growth:+.1%})",
        "seconds": f"{report.seconds:.0f}",
    }
    for figure, value in rows.items():
        table.add_row(figure, str(value))
    return table


if __name__ == "__main__":
    main()
