"""One client, many clients, and what they do to each other: `uv run python benchmarks/throughput.py`.

Starts a server of its own with the built-in model, asks it for images beside diffusers' own pipeline on the same model, steps
and machine, in turns, and ends it.
"""

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
from rich.console import Console
from rich.table import Table

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.arguments import count
from benchmarks.server import server
from tests.load.rates import health_watched, images_a_second, median_of, p99, timed

_BODY = {"prompt": "a red circle on a blue background", "seed": 7}
_STEPS, _GUIDANCE, _SIDE_PX = 14, 3.0, 128
_MODELS = Path(__file__).parents[1] / "models"
_START_S = 120


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=count, default=15, help="images for each median (default: 15)")
    parser.add_argument("--clients", type=count, default=8, help="at once (default: 8)")
    options = parser.parse_args()
    console, table = (
        Console(stderr=True),
        Table("figure", "value", title="The demo model, 128 x 128, 14 steps, guidance"),
    )
    with tempfile.TemporaryDirectory() as folder, server(Path(folder), {}) as started:
        started.wait_until_ok("/health/ready", _START_S)
        with httpx.Client(base_url=started.url, timeout=120) as client:
            with console.status("one client, and diffusers' pipeline in turns"):
                _one_client(client, options.repeats, table)
            with console.status(f"{options.clients} clients"):
                _many_clients(client, options.clients, options.repeats, table)
            with console.status("cancelling"):
                _cancelling(client, table)
    Console().print(table)


def _one_client(client: httpx.Client, repeats: int, table: Table) -> None:
    pipeline = _pipeline()
    ask: Callable[[], Any] = lambda: client.post("/generate/demo", json=_BODY).raise_for_status()  # noqa: E731
    for warm in (ask, ask, pipeline):
        warm()
    ours, theirs = zip(*((timed(ask), timed(pipeline)) for _ in range(repeats)), strict=True)
    one, other = statistics.median(ours), statistics.median(theirs)
    table.add_row("over HTTP, p50", f"{one * 1000:.0f} ms")
    table.add_row("diffusers' pipeline, its call alone, p50", f"{other * 1000:.0f} ms")
    table.add_row("ours / theirs", f"{one / other:.2f}")


def _many_clients(client: httpx.Client, clients: int, repeats: int, table: Table) -> None:
    """Images a second of one client and of many, and what `/health/live` takes at the same time."""

    def rate(count: int, images: int) -> float:
        return images_a_second(client, "/generate/demo", _BODY, clients=count, images=images)

    rate(clients, 2 * clients)  # the dispatcher learns here how large a batch pays
    single = rate(1, repeats)
    with health_watched(client.base_url) as waits:
        many = rate(clients, clients * max(3, repeats // 4))
    table.add_row("images a second, one client", f"{single:.2f}")
    table.add_row(f"images a second, {clients} clients", f"{many:.2f}")
    table.add_row("gain", f"{many / single:.2f}")
    table.add_row(f"/health/live at the same time, p99 of {len(waits)}", f"{p99(waits) * 1000:.1f} ms")


def _cancelling(client: httpx.Client, table: Table) -> None:
    """From the moment at which one client leaves to the answer of the next, less what that takes alone."""
    short = {**_BODY, "num_inference_steps": 1, "reproducible": True}
    long = {**_BODY, "num_inference_steps": 150, "reproducible": True}
    alone = median_of(lambda: client.post("/generate/demo", json=short), 5)
    delays: list[float] = []
    for _ in range(5):
        with ThreadPoolExecutor(2) as pool:
            leaving = pool.submit(_leave_after, client, long, 1.0)
            time.sleep(0.3)
            answered = pool.submit(lambda: (client.post("/generate/demo", json=short), time.perf_counter())[1])
            delays.append(answered.result() - leaving.result() - alone)
    table.add_row(
        "from a client's leaving to the next request's first step", f"{statistics.median(delays) * 1000:.0f} ms"
    )


def _leave_after(client: httpx.Client, body: dict[str, Any], seconds: float) -> float:
    with suppress(httpx.ReadTimeout):
        httpx.post(f"{str(client.base_url).rstrip(chr(47))}/generate/demo", json=body, timeout=seconds)
    return time.perf_counter()


def _pipeline() -> Callable[[], object]:
    """The pipeline of diffusers itself, its progress bar off."""
    import torch
    from diffusers import StableDiffusionXLPipeline

    pipeline = StableDiffusionXLPipeline.from_single_file(
        str(_MODELS / "demo.safetensors"), config=str(_MODELS / "demo.config"), local_files_only=True
    )
    pipeline.set_progress_bar_config(disable=True)

    def generate() -> object:
        return pipeline(
            _BODY["prompt"],
            num_inference_steps=_STEPS,
            guidance_scale=_GUIDANCE,
            width=_SIDE_PX,
            height=_SIDE_PX,
            generator=torch.Generator().manual_seed(7),
        )

    return generate


if __name__ == "__main__":
    main()
