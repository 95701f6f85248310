"""Two full-size models in memory for one, taking turns: `uv run python benchmarks/swaps.py`.

Writes two SDXL checkpoints with random weights, and drives pool and engine without a server. After each swap: its own memory,
which must stay what it was after the first two, and the image, which must equal the model's first one byte for byte; so must
the hashes of all weights. Exits with 1 if not. Needs 14 GB of disk and 9 GB of memory; the files are deleted at the end, unless a
folder is given for them. Linux only.
"""

import argparse
import asyncio
import ctypes
import statistics
import sys
import tempfile
from collections.abc import AsyncIterator, Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.arguments import count
from benchmarks.full_size import write_full_size
from litestar_diffusion.bootstrap import Services, build
from litestar_diffusion.domain.requests.parameters import GenerationParameters
from litestar_diffusion.infra.telemetry.logs.logging import configure_logging
from litestar_diffusion.settings import MemorySettings, ModelsSettings, Settings
from tests.load.soak import own_nbytes

_DTYPES = ("bfloat16", "float16", "float32")
_ELEMENTS = 3_470_000_000
"""Of SDXL's four components together, rounded up."""
_ACTIVATION_NBYTES = 1_000_000_000
_START_S = 120.0
_GROWTH = 0.02
"""The share by which memory may differ from what it was after the first two swaps."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Swap:
    """A model came, another left."""

    model: str
    load_s: float
    """Until the model was ready; the other's leaving is counted in."""
    image: bytes
    weights: frozenset[str]
    """Hashes of what lies in memory."""
    untrimmed_nbytes: int
    """Memory of the process, freed blocks included that its C library keeps for later."""
    own_nbytes: int
    """Memory of the process without them. File pages are in neither."""


def main() -> None:
    """Swap, print, and fail if something is wrong."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--swaps", type=count, default=20, help="(default: 20)")
    parser.add_argument("--dtype", choices=_DTYPES, default="bfloat16", help="of loaded weights (default: bfloat16)")
    parser.add_argument("--side", type=count, default=64, help="of the images, in pixels (default: 64)")
    parser.add_argument(
        "--folder", type=Path, help="of the checkpoints, which are kept there; a temporary one by default"
    )
    options = parser.parse_args()
    console = Console(stderr=True)
    with ExitStack() as stack:
        status = stack.enter_context(console.status("writing checkpoints"))
        folder = options.folder or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        for seed, name in enumerate(("a", "b"), start=1):
            file = folder / f"{name}.safetensors"
            if not file.exists():
                status.update(f"writing checkpoint {name}, 6.9 GB")
                write_full_size(file, seed)
        status.update("loading the first model")
        configure_logging("auto", "warning")
        swaps = asyncio.run(_swap(_settings(folder, options.dtype), options.swaps, options.side, status.update))
    wrong = _wrong(swaps)
    Console().print(_table(swaps, options.dtype))
    for line in wrong:
        console.print(f"[red]wrong:[/red] {line}")
    sys.exit(bool(wrong))


def _settings(folder: Path, dtype: str) -> Settings:
    """Memory for one model and its image."""
    budget = _ELEMENTS * (4 if dtype == "float32" else 2) + _ACTIVATION_NBYTES
    models = ModelsSettings(directory=str(folder), default=None, builtin=False, hub_enabled=False, dtype=dtype)  # type: ignore[arg-type]
    return Settings(models=models, memory=MemorySettings(host=budget))


async def _swap(settings: Settings, count: int, side: int, on_progress: Callable[[str], None]) -> list[Swap]:
    services = build(settings)
    swaps: list[Swap] = []
    async with services.running():
        async with asyncio.timeout(_START_S):
            while services.not_ready_because():  # noqa: ASYNC110 - nothing tells
                await asyncio.sleep(0.05)
        async for swap in _turns(services, count, side):
            swaps.append(swap)
            on_progress(f"swap {len(swaps)} of {count}: {swap.load_s:.1f} s, {swap.own_nbytes / 1e9:.2f} GB")
    return swaps


async def _turns(services: Services, count: int, side: int) -> AsyncIterator[Swap]:
    asked = GenerationParameters(
        prompt="a red circle", num_inference_steps=1, guidance_scale=1.0, width=side, height=side, seed=7
    )
    for index in range(count):
        made = await services.generator.generate("ab"[index % 2], asked)
        services.pool.check_integrity()
        assert made.found == "cold", "both models were in memory at once"
        yield Swap(
            model=made.request.model,
            load_s=made.timings.load_s,
            image=made.images[0].data,
            weights=frozenset(component.id for component in services.pool.report().components),
            untrimmed_nbytes=own_nbytes("self"),
            own_nbytes=_trimmed_nbytes(),
        )


def _trimmed_nbytes() -> int:
    """Memory of this process, without what its C library keeps of freed blocks for later."""
    ctypes.CDLL(None).malloc_trim(0)
    return own_nbytes("self")


def _wrong(swaps: list[Swap]) -> list[str]:
    first = {swap.model: swap for swap in reversed(swaps)}
    wrong = [
        f"swap {index}: another {what} of {swap.model} than at first"
        for index, swap in enumerate(swaps, start=1)
        for what, same in (
            ("image", swap.image == first[swap.model].image),
            ("hash of the weights", swap.weights == first[swap.model].weights),
        )
        if not same
    ]
    if len({swap.image for swap in first.values()}) < len(first):
        wrong.append("both models give the same image, so comparing images shows nothing")
    if (growth := _growth(swaps)) > _GROWTH:
        wrong.append(f"memory moved by {growth:.1%} after the first two swaps")
    return wrong


def _growth(swaps: list[Swap]) -> float:
    """How far memory moved, up or down, from where it was after the first two swaps."""
    after_first = [swap.own_nbytes for swap in swaps[1:]]
    return max(abs(nbytes / after_first[0] - 1) for nbytes in after_first) if after_first else 0.0


def _table(swaps: list[Swap], dtype: str) -> Table:
    table = Table(
        "swap", "model", "load", "memory", "with freed blocks", title=f"{dtype}, two models in memory for one"
    )
    for index, swap in enumerate(swaps, start=1):
        nbytes = (f"{count / 1e9:.3f} GB" for count in (swap.own_nbytes, swap.untrimmed_nbytes))
        table.add_row(str(index), swap.model, f"{swap.load_s:.2f} s", *nbytes)
    later = [swap.load_s for swap in swaps[1:]]
    table.add_section()
    median = f"{statistics.median(later):.2f} s" if later else ""
    table.add_row("median, and largest move", "", median, f"{_growth(swaps):.2%}")
    return table


if __name__ == "__main__":
    main()
