"""How fast a server starts, answers and makes images: `uv run python benchmarks/serving.py`.

Starts a server of its own on a free port, measures, prints a table, and ends it. The baseline is diffusers' own pipeline
on the same model, steps and machine, in the same run, in a process of its own. Each phase has a limit of time; one that fails or
exceeds it is a row of the table, and the rest goes on. Exits with 1 if one did.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
from rich.console import Console
from rich.markup import escape
from rich.status import Status
from rich.table import Table

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.arguments import count
from benchmarks.server import Started, server
from tests.load.rates import p99, timed

BODY = {"prompt": "a red circle on a blue background", "seed": 7}
MODELS = Path(__file__).parents[1] / "models"
_HEALTH_IMAGES = 8


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=count, default=5, help="images a figure (default: 5)")
    parser.add_argument("--limit", type=float, default=120, help="seconds that a phase may take (default: 120)")
    parser.add_argument("--baseline", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.baseline:
        print(json.dumps(_baseline(options.repeats)))
        return
    table = Table("figure", "value", title="Serving the demo model")
    with Console(stderr=True).status("starting a server") as status, tempfile.TemporaryDirectory() as folder:
        phases = _Phases(table, status, options.limit)
        with server(Path(folder), {}) as started:
            _measure_server(started, phases, options.repeats)
        with phases.phase("the same image, diffusers' pipeline, median") as phase:
            phase.value = _ms(_in_process(options.repeats, phase))
    Console().print(table)
    sys.exit(phases.failed)


@dataclass(slots=True)
class Phase:
    """A figure in the making."""

    figure: str
    deadline: float
    value: str = "not measured"

    def left_s(self) -> float:
        """Seconds until it must be done.

        Raises:
            TimeoutError: none are left.
        """
        left = self.deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError("it took too long")
        return left


class _Phases:
    """Rows of a table, one for each phase, however it ends."""

    def __init__(self, table: Table, status: Status, limit_s: float) -> None:
        self._table = table
        self._status = status
        self._limit_s = limit_s
        self.failed = False

    @contextmanager
    def phase(self, figure: str) -> Iterator[Phase]:
        """Measure something; an error becomes its row."""
        self._status.update(figure)
        phase = Phase(figure, time.monotonic() + self._limit_s)
        try:
            yield phase
        except (TimeoutError, httpx.TimeoutException, subprocess.TimeoutExpired):
            phase.value = f"[red]not done within {self._limit_s:g} s[/red]"
            self.failed = True
        except (httpx.HTTPError, OSError, subprocess.SubprocessError) as error:
            phase.value = f"[red]failed: {escape(str(error) or type(error).__name__)}[/red]"
            self.failed = True
        self._table.add_row(phase.figure, phase.value)


def _measure_server(started: Started, phases: _Phases, repeats: int) -> None:
    with httpx.Client(base_url=started.url) as client:
        with phases.phase("/health/live answers after process start") as phase:
            phase.value = _s(started.wait_until_ok("/health/live", phase.left_s()))
        with phases.phase("first image after process start") as phase:
            _generate(client, phase)
            phase.value = _s(time.monotonic() - started.begun)
        with phases.phase("hot image, 128 x 128, 14 steps with guidance, median") as phase:
            phase.value = _ms([timed(lambda: _generate(client, phase)) for _ in range(repeats)])
        with phases.phase("/health/live during a generation, p99") as phase:
            taken = _health(client, phase)
            phase.figure += f" of {len(taken)}"
            phase.value = f"{p99(taken) * 1000:.1f} ms"


def _generate(client: httpx.Client, phase: Phase, **parameters: int) -> None:
    client.post("/generate/demo", json={**BODY, **parameters}, timeout=phase.left_s()).raise_for_status()


def _health(client: httpx.Client, phase: Phase) -> list[float]:
    """Ask for health as fast as it answers while images are made.

    Raises:
        httpx.HTTPError: health, or the images, failed.
    """
    failures: list[httpx.HTTPError] = []

    def generate() -> None:
        try:
            _generate(client, phase, n=_HEALTH_IMAGES, num_inference_steps=40)
        except httpx.HTTPError as error:
            failures.append(error)

    worker = threading.Thread(target=generate)
    worker.start()
    taken: list[float] = []
    try:
        while worker.is_alive():
            taken.append(timed(lambda: client.get("/health/live", timeout=phase.left_s()).raise_for_status()))
            time.sleep(0.005)
    finally:
        worker.join()
    if failures:
        raise failures[0]
    return taken


def _in_process(repeats: int, phase: Phase) -> list[float]:
    command = [sys.executable, "-W", "ignore", __file__, "--baseline", "--repeats", str(repeats)]
    output = subprocess.run(
        command, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, timeout=phase.left_s()
    ).stdout
    return json.loads(output.strip().splitlines()[-1])


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
    return [timed(generate) for _ in range(repeats)]


def _s(seconds: float) -> str:
    return f"{seconds:.2f} s"


def _ms(seconds: list[float]) -> str:
    return f"{statistics.median(seconds) * 1000:.0f} ms"


if __name__ == "__main__":
    main()
