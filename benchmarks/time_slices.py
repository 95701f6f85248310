"""What time slices give and cost: `uv run python benchmarks/time_slices.py`; `--waits` measures in a minute only who waits.

Starts two servers of its own in turns, with `dispatch.slice_s` as shipped and with slices that never end. Each gets the
same steady load of clients with different keys, sizes and models, whose requests last longer than a slice; then a huge request of
one client and small ones of another, while its images are denoised and while they are decoded.
"""

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Event
from typing import Any

import httpx
from rich.console import Console
from rich.table import Table

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.arguments import count
from benchmarks.server import server
from litestar_diffusion.domain.access.api_key import hash_of, new_key
from tests.load.rates import timed

_START_S = 120
_NEVER_S = "86400"
_PROMPT = "a red circle on a blue background"
_LOAD: dict[str, tuple[str, dict[str, Any]]] = {
    "a": ("demo", {"width": 128, "height": 128, "n": 4, "num_inference_steps": 60}),
    "b": ("demo", {"width": 256, "height": 256, "n": 2, "num_inference_steps": 30}),
    "c": ("demo-vpred", {"width": 192, "height": 192, "n": 2, "num_inference_steps": 50}),
    "d": ("demo-turbo", {"width": 128, "height": 256, "n": 8, "num_inference_steps": 20}),
}
"""Model and body of each client's requests: no two share a lane."""
_HUGE = {"prompt": _PROMPT, "width": 2048, "height": 2048, "n": 8, "num_inference_steps": 150}
_DECODED = {**_HUGE, "num_inference_steps": 1}
"""Is decoded nearly all of the time."""
_SMALL = {"prompt": _PROMPT, "width": 128, "height": 128, "num_inference_steps": 8, "seed": 1}
_KEYS = {name: new_key() for name in _LOAD}


@dataclass(frozen=True, slots=True)
class _Figures:
    load_s: float
    """Seconds of the whole steady load."""
    alone_s: float
    """Seconds of a small request on an idle device, the median."""
    behind_s: list[float]
    """Seconds of each small request beside the huge one; empty if it was not measured."""
    decoded_s: list[float]
    """The same while its images are decoded."""
    health_s: list[float]
    """Seconds of each answer of `/health/live` during both."""


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=count, default=3, help="runs of each server, in turns (default: 3)")
    parser.add_argument("--requests", type=count, default=4, help="of each of four clients in a run (default: 4)")
    parser.add_argument("--waits", action="store_true", help="no steady load: a minute instead of ten")
    options = parser.parse_args()
    if options.waits:
        Console().print(_table([_measured({}, 0, huge=True)], []))
        return
    console = Console(stderr=True)
    sliced, whole = list[_Figures](), list[_Figures]()
    for number in range(options.rounds):
        with console.status(f"round {number + 1} of {options.rounds}"):
            sliced.append(_measured({}, options.requests, huge=True))
            whole.append(_measured({"LITESTAR_DIFFUSION__DISPATCH__SLICE_S": _NEVER_S}, options.requests, huge=False))
    Console().print(_table(sliced, whole))


def _table(sliced: list[_Figures], whole: list[_Figures]) -> Table:
    table = Table("figure", "slices of 2 s", "no slices", title="Four clients, three models, four sizes")
    ours, theirs = ([figures.load_s for figures in runs] for runs in (sliced, whole))
    if theirs:
        table.add_row(
            "steady load, all seconds, median", f"{statistics.median(ours):.1f}", f"{statistics.median(theirs):.1f}"
        )
        table.add_row("cost of slices", f"{statistics.median(ours) / statistics.median(theirs) - 1:+.1%}", "")
    table.add_row("small request on an idle device", f"{statistics.median(f.alone_s for f in sliced):.2f} s", "")
    behind, decoded, health = (
        [seconds for figures in sliced for seconds in kind(figures)]
        for kind in (lambda f: f.behind_s, lambda f: f.decoded_s, lambda f: f.health_s)
    )
    table.add_row("beside 2048 x 2048, n=8, 150 steps, p50", f"{statistics.median(behind):.2f} s", "waits for its end")
    table.add_row("the longest of them", f"{max(behind):.2f} s", "")
    table.add_row("while its images are decoded, p50", f"{statistics.median(decoded):.2f} s", "")
    table.add_row("the longest of them", f"{max(decoded):.2f} s", "")
    table.add_row("/health/live at the same time, p50", f"{statistics.median(health) * 1000:.1f} ms", "")
    table.add_row(f"p99 of {len(health)}", f"{statistics.quantiles(health, n=100)[98] * 1000:.1f} ms", "")
    table.add_row("the longest of them", f"{max(health) * 1000:.1f} ms", "")
    return table


def _measured(environment: dict[str, str], requests: int, *, huge: bool) -> _Figures:
    keys = {name: {"hash": hash_of(key), "scopes": ["generate"]} for name, key in _KEYS.items()}
    environment = {
        "LITESTAR_DIFFUSION__KEYS": json.dumps(keys),
        "LITESTAR_DIFFUSION__LIMITS__MAX_REQUEST_S": "0",
        **environment,
    }
    with tempfile.TemporaryDirectory() as folder, server(Path(folder), environment) as started:
        started.wait_until_ok("/health/ready", _START_S)
        _steady(started.url, 1)  # loads the models, and the dispatcher learns how large a batch pays
        load_s = timed(lambda: _steady(started.url, requests))
        with _client(started.url, "b") as client:
            alone_s = statistics.median(_small_s(client) for _ in range(5))
            health_s = list[float]()
            with _asked(started.url, health_s):
                behind_s = _behind_s(started.url, client, _HUGE) if huge else []
                decoded_s = _behind_s(started.url, client, _DECODED) if huge else []
    return _Figures(load_s, alone_s, behind_s, decoded_s, health_s)


@contextmanager
def _asked(url: str, seconds: list[float]) -> Iterator[None]:
    """Ask for the server's health 20 times a second, until the block ends."""
    over = Event()

    def ask() -> None:
        with httpx.Client(base_url=url, timeout=60) as client:
            while not over.wait(0.05):
                seconds.append(timed(lambda: client.get("/health/live").raise_for_status()))

    with ThreadPoolExecutor(1) as pool:
        asking = pool.submit(ask)
        try:
            yield
        finally:
            over.set()
        asking.result()


def _steady(url: str, requests: int) -> None:
    """Send the load: each client sends its requests one after the other."""

    def work(name: str) -> None:
        model, body = _LOAD[name]
        with _client(url, name) as client:
            for seed in range(requests):
                client.post(f"/generate/{model}", json={"prompt": _PROMPT, "seed": seed, **body}).raise_for_status()

    with ThreadPoolExecutor(len(_LOAD)) as pool:
        list(pool.map(work, _LOAD))


def _behind_s(url: str, client: httpx.Client, huge: dict[str, Any]) -> list[float]:
    """Return the seconds of ten small requests while a huge one of another client runs."""
    with _client(url, "a") as greedy, _running(greedy, huge):
        return [_small_s(client) for _ in range(10)]


@contextmanager
def _running(client: httpx.Client, body: dict[str, Any]) -> Iterator[None]:
    """Run a job, from its first step until the block ends."""
    job = client.post("/jobs/demo", json=body).raise_for_status().headers["location"]
    try:
        while not client.get(job).raise_for_status().json()["steps_done"]:
            time.sleep(0.1)
        yield
    finally:
        client.delete(job)


def _small_s(client: httpx.Client) -> float:
    return timed(lambda: client.post("/generate/demo", json=_SMALL).raise_for_status())


def _client(url: str, name: str) -> httpx.Client:
    return httpx.Client(base_url=url, timeout=600, headers={"X-API-Key": _KEYS[name]})


if __name__ == "__main__":
    main()
