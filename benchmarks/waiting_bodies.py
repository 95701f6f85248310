"""Growth of a server while requests with large pictures wait: `uv run python benchmarks/waiting_bodies.py`.

The pictures are sent to a server of its own, whose device never ends a step: in base64 inside of JSON, as forms, or to the APIs
of other servers.
"""

import argparse
import asyncio
import sys
import tempfile
from pathlib import Path

from rich.console import Console
from rich.table import Table

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.arguments import count
from benchmarks.server import Started, server
from tests.load.soak import own_nbytes
from tests.load.uploads import FACTORY, WAYS, noise, waiting

_START_S = 120.0
_GIVEN_BACK_S = 12.0
"""Seconds after which freed memory has been given back: see `FreedMemory`."""


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=count, default=30, help="that wait (default: 30)")
    parser.add_argument("--side", type=count, default=1640, help="of each picture in pixels (default: 1640, 8 MB)")
    parser.add_argument("--way", choices=WAYS, default="json", help="in which they are sent (default: json)")
    options = parser.parse_args()
    pictures = [noise(seed, options.side) for seed in range(options.requests)]
    environment = {
        "PYTHONPATH": str(Path(__file__).parents[1]),
        "LITESTAR_DIFFUSION__LIMITS__MAX_BUFFERED_BYTES": "2000000000",
    }
    with tempfile.TemporaryDirectory() as folder, server(Path(folder), environment, FACTORY) as started:
        started.wait_until_ok("/health/ready", _START_S)
        come, settled = asyncio.run(_grown(started, pictures, options.way))
        started.process.kill()  # its device never ends a step
    title = f"{options.requests} requests wait with pictures, sent as {options.way}"
    table = Table("figure", "MB", title=title)
    table.add_row("their files", f"{sum(map(len, pictures)) / 1e6:.0f}")
    table.add_row("growth of the server, as the last came to wait", f"{come / 1e6:.0f}")
    table.add_row(f"the same {_GIVEN_BACK_S:g} s later, freed memory given back", f"{settled / 1e6:.0f}")
    Console().print(table)


async def _grown(started: Started, pictures: list[bytes], way: str) -> tuple[int, int]:
    before = own_nbytes(started.process.pid)
    async with waiting(started.url, pictures, [way]):
        come = own_nbytes(started.process.pid) - before
        await asyncio.sleep(_GIVEN_BACK_S)
        return come, own_nbytes(started.process.pid) - before


if __name__ == "__main__":
    main()
