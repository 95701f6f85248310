"""A server under slow, broken, greedy and polite clients at once: `uv run python benchmarks/soak.py --minutes 20`.

Starts `litestar-diffusion serve` with short time-outs. Polite clients mix text, pictures, masks, second passes, adapters, an
embedding and an enlargement; each image and job must come, and equal the one made before; every health check must be answered;
memory must be flat. Prints the figures, and ends with 1 if anything is wrong. Linux only: each kind of client has an address of
its own in 127.0.0.0/8.
"""

import argparse
import asyncio
import sys
import tempfile
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Table

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.arguments import count
from benchmarks.server import served
from tests.load.plans import siege_plan
from tests.load.siege import Siege, SiegeReport, percentile

_START_S = 120.0
_GROWTH = 0.1
"""Share by which memory may grow from the first to the last third of the time after the warm-up."""
_SHOWN = 10
_SETTINGS = {
    "LITESTAR_DIFFUSION__SERVER__HEADER_TIMEOUT_S": "3",
    "LITESTAR_DIFFUSION__SERVER__BODY_TIMEOUT_S": "3",
    "LITESTAR_DIFFUSION__SERVER__WRITE_TIMEOUT_S": "3",
    "LITESTAR_DIFFUSION__SERVER__MIN_BYTES_PER_S": "1000000",
    "LITESTAR_DIFFUSION__SERVER__MAX_CONNECTIONS": "160",
    "LITESTAR_DIFFUSION__SERVER__MAX_CONNECTIONS_PER_ADDRESS": "40",
    "LITESTAR_DIFFUSION__LIMITS__MAX_BUFFERED_BYTES": "30000000",
}


def main() -> None:
    """Besiege, print, and fail if something is wrong."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=20.0, help="(default: 20)")
    parser.add_argument("--polite", type=count, default=4, help="polite clients (default: 4)")
    parser.add_argument("--scale", type=count, default=4, help="multiplies the hostile clients (default: 4)")
    options = parser.parse_args()
    console = Console(stderr=True)
    with tempfile.TemporaryDirectory() as folder, console.status("starting a server") as status:
        with served(Path(folder), _SETTINGS) as started:
            started.wait_until_ok("/health/ready", _START_S)
            siege = Siege(started.url, started.port, started.process.pid, on_progress=status.update)
            report = asyncio.run(siege.run(options.minutes * 60, polite=options.polite, scale=options.scale))
        tracebacks = (Path(folder) / "server.log").read_text().count("Traceback")
        log_nbytes = (Path(folder) / "server.log").stat().st_size
    Console().print(_table(report, tracebacks, log_nbytes))
    for line in report.wrong[:_SHOWN]:
        console.print(f"[red]wrong:[/red] {escape(line)}")
    sys.exit(bool(report.wrong) or report.growth > _GROWTH or tracebacks > 0)


def _milliseconds(seconds: list[float]) -> str:
    return f"{percentile(seconds, 0.5) * 1000:.1f} ms, {percentile(seconds, 0.99) * 1000:.1f} ms"


def _table(report: SiegeReport, tracebacks: int, log_nbytes: int) -> Table:
    table = Table("figure", "value", title="polite clients among hostile ones")
    nbytes = [each for _, each in report.settled]
    rows = {
        "seconds": f"{report.seconds:.0f}",
        "hostile acts": ", ".join(f"{number} {act}" for act, number in sorted(report.acts.items())),
        "polite images, equal to those before": report.images,
        "kinds of requests among them": f"{len(report.kinds)} of {len(siege_plan(0))}",
        "of these by jobs; lost jobs": f"{report.jobs}; {sum('job' in line for line in report.wrong)}",
        "polite refusals, come back later": ", ".join(f"{number} {code}" for code, number in report.refused.items())
        or "0",
        "health checks; failed": f"{len(report.health_s) + report.health_failures}; {report.health_failures}",
        "health p50, p99": _milliseconds(report.health_s),
        "the same of an idle server": _milliseconds(report.machine_s),
        "own memory after the warm-up": f"{min(nbytes) / 1e6:.0f} to {max(nbytes) / 1e6:.0f} MB",
        "growth, first to last third": f"{report.growth:+.1%}",
        "slope": f"{report.slope_nbytes_per_hour / 1e6:+.1f} MB an hour",
        "leases left": report.leases,
        "log": f"{log_nbytes / 1e6:.1f} MB, {tracebacks} tracebacks",
        "wrong": len(report.wrong),
    }
    for figure, value in rows.items():
        table.add_row(figure, str(value))
    return table


if __name__ == "__main__":
    main()
