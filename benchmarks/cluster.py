"""What a cluster costs and gives on this machine: `uv run --extra ray python benchmarks/cluster.py`.

Measures small requests of one client directly and through Ray Serve, then the images a minute of one and of two workers with a
core each, beside those of the server without Ray.
"""

import argparse
import itertools
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import httpx
from rich.console import Console
from rich.table import Table

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.arguments import count
from tests.conftest import free_port
from tests.load.rates import timed

_START_S = 180
_SMALL = {"prompt": "a red circle", "num_inference_steps": 1, "width": 64, "height": 64, "seed": 1}
_LOAD = {"prompt": "a red circle on a blue background", "num_inference_steps": 30, "seed": 1, "reproducible": True}
_MODELS = ("demo", "demo-vpred", "demo-turbo")
_ENVIRONMENT = {
    "LITESTAR_DIFFUSION__MODELS__HUB_ENABLED": "false",
    "LITESTAR_DIFFUSION__DEVICE__NAME": "cpu",
    "LITESTAR_DIFFUSION__DEVICE__THREADS": "1",
    "LITESTAR_DIFFUSION__CLUSTER__GPUS_PER_WORKER": "0",
    "LITESTAR_DIFFUSION__CLUSTER__CPUS_PER_WORKER": "0.5",
    "OMP_NUM_THREADS": "1",
}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=count, default=60, help="of each figure (default: 60)")
    options = parser.parse_args()
    table = Table("", "small request, p50", "p99", "8 clients, images a minute", "hits", title="one machine")
    for label, arguments, workers in (
        ("without Ray", (), 1),
        ("one worker", ("--ray",), 1),
        ("two workers", ("--ray",), 2),
    ):
        with Console(stderr=True).status(label), _server(arguments, workers) as client:
            table.add_row(label, *_figures(client, options.requests))
    Console().print(table)


def _figures(client: httpx.Client, requests: int) -> tuple[str, ...]:
    for model in _MODELS * 2:
        client.post(f"/generate/{model}", json=_LOAD).raise_for_status()
    small = sorted(
        timed(lambda: client.post("/generate/demo", json=_SMALL).raise_for_status()) for _ in range(requests)
    )
    begun = time.monotonic()
    with ThreadPoolExecutor(8) as clients:
        models = itertools.islice(itertools.cycle(_MODELS), requests)
        found = list(
            clients.map(lambda model: client.post(f"/generate/{model}", json=_LOAD).json()["residency"], models)
        )
    minutes = (time.monotonic() - begun) / 60
    return (
        f"{statistics.median(small) * 1000:.0f} ms",
        f"{small[int(len(small) * 0.99)] * 1000:.0f} ms",
        f"{requests / minutes:.0f}",
        f"{found.count('hot') / len(found):.0%}",
    )


@contextmanager
def _server(arguments: tuple[str, ...], workers: int) -> Iterator[httpx.Client]:
    port = free_port()
    environment = {**os.environ, **_ENVIRONMENT, "LITESTAR_DIFFUSION__CLUSTER__WORKERS": str(workers)}
    command = [sys.executable, "-m", "litestar_diffusion", "serve", "--port", str(port), *arguments]
    with tempfile.TemporaryDirectory() as folder, (Path(folder) / "log").open("wb") as log:
        process = subprocess.Popen(command, cwd=folder, stdout=log, stderr=log, env=environment)
        try:
            with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=120) as client:
                _wait(client, process)
                yield client
        finally:
            process.terminate()
            process.wait(60)


def _wait(client: httpx.Client, process: "subprocess.Popen[bytes]") -> None:
    deadline = time.monotonic() + _START_S
    while time.monotonic() < deadline and process.poll() is None:
        try:
            if client.post("/generate/demo", json=_SMALL).status_code == 200:
                return
        except httpx.TransportError:
            time.sleep(0.5)
    sys.exit("the server did not start")


if __name__ == "__main__":
    main()
