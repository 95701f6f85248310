"""Two models taking turns: memory for one against memory for both, and diffusers' way: `uv run python benchmarks/alternating.py`.

Three times the same requests, a b a b and so on: by our server's pool with room for one model on the device, by the same with
room for both, and by two diffusers pipelines of which one is moved to the device (`.to`) and back for each image.

On a CPU there is nothing to move to: where there is room for one model, the other comes from disk, and the last row is left out.
"""

import argparse
import asyncio
import sys
import tempfile
import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import arguments
from arguments import count
from rich.console import Console
from rich.table import Table

sys.path.insert(0, str(Path(__file__).parents[1]))

import torch

from benchmarks.full_size import write_full_size
from benchmarks.resident import PROMPT, SEED, load_diffusers, synchronize
from litestar_diffusion.bootstrap import Services, build
from litestar_diffusion.domain.requests.parameters import GenerationParameters
from litestar_diffusion.infra.device.device import choose_device
from litestar_diffusion.infra.device.precision import computed_in
from litestar_diffusion.infra.telemetry.logs.logging import configure_logging
from litestar_diffusion.settings import DeviceSettings, MemorySettings, ModelsSettings, Settings

_MODELS = Path(__file__).parents[1] / "models"
_DEMOS = ("demo", "demo-vpred")
_DTYPES = ("auto", "bfloat16", "float16", "float32")
_START_S = 120.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Turns:
    """What taking turns took."""

    seconds: float
    images: int
    """After the first of each model, which are not counted."""
    found: str
    """Where the models were, as the answers say."""
    room_nbytes: int = 0
    """What one model and its image take, and a part of another."""


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--full-size",
        action="store_true",
        help="two models of SDXL's size with random weights instead of the demo models; 14 GB of disk, 16 GB of memory",
    )
    parser.add_argument(
        "--device", type=arguments.device, default="auto", help="auto, cpu, cuda or cuda:1 (default: auto)"
    )
    parser.add_argument("--dtype", choices=_DTYPES, default="auto", help="of the weights (default: auto)")
    parser.add_argument("--side", type=count, default=128, help="of the images, in pixels (default: 128)")
    parser.add_argument("--steps", type=count, default=14, help="(default: 14)")
    parser.add_argument("--guidance", type=float, default=3.0, help="(default: 3)")
    parser.add_argument("--images", type=count, default=10, help="of both models together (default: 10)")
    options = parser.parse_args()
    device = choose_device(options.device)
    console = Console(stderr=True)
    configure_logging("auto", "warning")
    with ExitStack() as stack:
        status = stack.enter_context(console.status("loading"))
        folder, names = _MODELS, _DEMOS
        if options.full_size:
            folder, names = Path(stack.enter_context(tempfile.TemporaryDirectory())), ("a", "b")
            for seed, name in enumerate(names, start=1):
                status.update(f"writing checkpoint {name}, 6.9 GB")
                write_full_size(folder / f"{name}.safetensors", seed)
        rows: dict[str, Turns] = {}
        status.update("ours, room for both")
        both = rows["ours, room for both"] = asyncio.run(_ours(folder, names, None, options))
        status.update("ours, room for one")
        rows["ours, room for one"] = asyncio.run(_ours(folder, names, both.room_nbytes, options))
        if device.type != "cpu":
            status.update("diffusers, moved back and forth")
            rows["diffusers, .to(device) and .to('cpu')"] = _diffusers(folder, names, device, options)
    Console().print(_table(rows, f"{' and '.join(names)} in turns, {options.side} px, {options.steps} steps, {device}"))


def _table(rows: dict[str, Turns], title: str) -> Table:
    table = Table("engine", "images a second", "seconds an image", "of room for both", "models were", title=title)
    resident = rows["ours, room for both"]
    for name, turns in rows.items():
        each = turns.seconds / turns.images
        share = resident.seconds / resident.images / each
        table.add_row(name, f"{1 / each:.3f}", f"{each:.2f}", f"{share:.2f}", turns.found)
    return table


async def _ours(folder: Path, names: tuple[str, ...], room_nbytes: int | None, options: argparse.Namespace) -> Turns:
    services = build(_settings(folder, room_nbytes, options))
    asked = GenerationParameters(
        prompt=PROMPT,
        num_inference_steps=options.steps,
        guidance_scale=options.guidance,
        width=options.side,
        height=options.side,
        seed=SEED,
    )
    async with services.running():
        await _ready(services)
        for name in names:
            await services.generator.generate(name, asked)
        begun, found = time.perf_counter(), set[str]()
        for index in range(options.images):
            made = await services.generator.generate(names[index % 2], asked)
            found.add(made.found)
        seconds = time.perf_counter() - begun
        services.pool.check_integrity()
        demand = [await services.dry_runs.run(name, asked) for name in names]
        weights = [one.weights_nbytes or 0 for one in demand]
        room = max(weights) + min(weights) // 2 + max(one.activation_nbytes for one in demand)
    return Turns(seconds=seconds, images=options.images, found=", ".join(sorted(found)), room_nbytes=room)


async def _ready(services: Services) -> None:
    async with asyncio.timeout(_START_S):
        while services.not_ready_because():  # noqa: ASYNC110 - nothing tells
            await asyncio.sleep(0.05)


def _settings(folder: Path, room_nbytes: int | None, options: argparse.Namespace) -> Settings:
    """So much memory on the device; None: all that there is."""
    on_cpu = choose_device(options.device).type == "cpu"
    memory = MemorySettings()
    if room_nbytes is not None:
        memory = MemorySettings(host=room_nbytes) if on_cpu else MemorySettings(device=room_nbytes)
    models = ModelsSettings(directory=str(folder), default=None, builtin=False, hub_enabled=False, dtype=options.dtype)
    return Settings(models=models, memory=memory, device=DeviceSettings(name=options.device))


def _diffusers(folder: Path, names: tuple[str, ...], device: torch.device, options: argparse.Namespace) -> Turns:
    dtype = computed_in(options.dtype, device)
    config = None if options.full_size else folder / "demo.config"
    pipelines = [load_diffusers(folder / f"{name}.safetensors", config, dtype) for name in names]
    seconds = 0.0
    for index in range(-2, options.images):
        begun = time.perf_counter()
        pipeline = pipelines[index % 2].to(device)
        pipeline(
            PROMPT,
            num_inference_steps=options.steps,
            guidance_scale=options.guidance,
            width=options.side,
            height=options.side,
            generator=torch.Generator().manual_seed(SEED),
        )
        pipeline.to("cpu")
        synchronize(device)
        seconds += (time.perf_counter() - begun) if index >= 0 else 0
    return Turns(seconds=seconds, images=options.images, found="host")


if __name__ == "__main__":
    main()
