"""Latency of `/health/live` while a thousand adapters are read: `uv run python benchmarks/adapter_scan.py`.

The files are copies of the adapter that ships with the package, each with other bytes. A server of its own reads all of them for
the first time, and again after every file has changed; this process asks for `/health/live` every 20 ms.
"""

import argparse
import os
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
from tests.load.rates import health_watched, p99, timed

_START_S = 120.0
_IDLE_S = 2.0
_DEMO = Path(__file__).parents[1] / "models" / "loras" / "outline.safetensors"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=count, default=1000, help="adapters in the folder (default: 1000)")
    options = parser.parse_args()
    table = Table("figure", "value", title=f"{options.files} adapters")
    with tempfile.TemporaryDirectory() as folder:
        loras = Path(folder) / "models" / "loras"
        loras.mkdir(parents=True)
        for number in range(options.files):
            _write_copy(loras / f"lora-{number:04}.safetensors", number)
        environment = {"LITESTAR_DIFFUSION__MODELS__DIRECTORY": str(loras.parent)}
        with server(Path(folder), environment) as started:
            started.wait_until_ok("/health/live", _START_S)
            with httpx.Client(base_url=started.url, timeout=_START_S) as client:
                _scan(client, table, "first scan, while torch is imported")
                started.wait_until_ok("/health/ready", _START_S)
                _measure(client, loras, table)
    Console().print(table)


def _write_copy(path: Path, number: int) -> None:
    """Write the adapter with its last numbers changed, which are no part of the header."""
    path.write_bytes(_DEMO.read_bytes()[:-8] + number.to_bytes(8, "little"))


def _measure(client: httpx.Client, loras: Path, table: Table) -> None:
    with health_watched(client.base_url) as waits:
        time.sleep(_IDLE_S)
    _add(table, "idle", waits)
    for file in loras.iterdir():
        os.utime(file)
    _scan(client, table, "every file changed")
    _scan(client, table, "no file changed")


def _scan(client: httpx.Client, table: Table, when: str) -> None:
    with health_watched(client.base_url) as waits:
        seconds = timed(lambda: client.get("/adapters").raise_for_status())
    table.add_row(f"{when}: GET /adapters", f"{seconds:.2f} s")
    _add(table, when, waits)


def _add(table: Table, when: str, waits: list[float]) -> None:
    table.add_row(
        f"{when}: /health/live, p99 and most of {len(waits)}", f"{p99(waits) * 1000:.1f} ms, {max(waits) * 1000:.1f} ms"
    )


if __name__ == "__main__":
    main()
