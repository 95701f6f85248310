"""How fast a server starts, answers and makes images: `uv run python benchmarks/serving.py`.

Starts a server of its own on a free port, measures, prints a table, and ends it. The baseline is diffusers' own pipeline
on the same model, steps and machine, in the same run.
"""

import argparse
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

import httpx
from rich.console import Console
from rich.table import Table

BODY = {"prompt": "a red circle on a blue background", "seed": 7}
MODELS = Path(__file__).parents[1] / "models"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=10, help="images a figure (default: 10)")
    repeats = parser.parse_args().repeats
    table = Table("figure", "value", title="Serving the demo model")
    with tempfile.TemporaryDirectory() as folder:
        port = _free_port()
        command = [sys.executable, "-m", "litestar_diffusion", "serve", "--port", str(port)]
        begun = time.monotonic()
        process = subprocess.Popen(
            command,
            cwd=folder,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "LITESTAR_DIFFUSION__MODELS__HUB_ENABLED": "false"},
        )
        try:
            with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=120) as client:
                _start_up(client, begun, table)
                _images(client, repeats, table)
                _health(client, table)
        finally:
            process.terminate()
            process.wait(30)
    table.add_row("the same image, diffusers' pipeline, median", _ms(_baseline(repeats)))
    Console().print(table)


def _start_up(client: httpx.Client, begun: float, table: Table) -> None:
    _until_ok(lambda: client.get("/health/live", timeout=1))
    table.add_row("/health/live answers after process start", _s(time.monotonic() - begun))
    assert client.post("/generate/demo", json=BODY).status_code == 200
    table.add_row("first image after process start", _s(time.monotonic() - begun))


def _images(client: httpx.Client, repeats: int, table: Table) -> None:
    taken = [_timed(lambda: client.post("/generate/demo", json=BODY)) for _ in range(repeats)]
    table.add_row("hot image, 128 x 128, 14 steps with guidance, median", _ms(taken))


def _health(client: httpx.Client, table: Table) -> None:
    """Ask for health as fast as it answers while images are made."""
    ended = threading.Event()

    def generate() -> None:
        client.post("/generate/demo", json={**BODY, "n": 8, "num_inference_steps": 40})
        ended.set()

    worker = threading.Thread(target=generate)
    worker.start()
    taken: list[float] = []
    while not ended.is_set():
        taken.append(_timed(lambda: client.get("/health/live")))
        time.sleep(0.005)
    worker.join()
    p99 = sorted(taken)[int(len(taken) * 0.99) - 1]
    table.add_row(f"/health/live during a generation, p99 of {len(taken)}", f"{p99 * 1000:.1f} ms")


def _baseline(repeats: int) -> list[float]:
    """The pipeline of diffusers itself, its progress bar off, PNG encoding included."""
    import torch
    from diffusers import StableDiffusionXLPipeline

    pipeline = StableDiffusionXLPipeline.from_single_file(
        str(MODELS / "demo.safetensors"), config=str(MODELS / "demo.config"), local_files_only=True
    )
    pipeline.set_progress_bar_config(disable=True)

    def generate() -> None:
        generator = torch.Generator().manual_seed(7)
        made = pipeline(
            BODY["prompt"], num_inference_steps=14, guidance_scale=3.0, width=128, height=128, generator=generator
        )
        made.images[0].save(os.devnull, format="PNG")

    generate()
    return [_timed(generate) for _ in range(repeats)]


def _until_ok(ask: Callable[[], httpx.Response]) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        try:
            if ask().status_code == 200:
                return
        except httpx.TransportError:
            time.sleep(0.01)
    raise TimeoutError("the server did not answer within 60 s")


def _timed(work: Callable[[], object]) -> float:
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _s(seconds: float) -> str:
    return f"{seconds:.2f} s"


def _ms(seconds: list[float]) -> str:
    return f"{statistics.median(seconds) * 1000:.0f} ms"


if __name__ == "__main__":
    main()
