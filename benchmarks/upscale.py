"""An upscaler and a second pass: `uv run python benchmarks/upscale.py`.

Enlarges a picture with this server's services and with spandrel called alone on the whole picture, and makes an image with a
second pass beside its passes asked for one by one. Loading and a first run are not counted; the fastest of the repeats counts.
"""

import argparse
import asyncio
import io
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import msgspec
import numpy as np
import torch
from arguments import count
from PIL import Image
from rich.console import Console
from rich.table import Table
from spandrel import ImageModelDescriptor, ModelLoader

sys.path.insert(0, str(Path(__file__).parents[1]))

from litestar_diffusion.bootstrap import build
from litestar_diffusion.domain.requests.hires import Hires
from litestar_diffusion.domain.requests.parameters import GenerationParameters
from litestar_diffusion.domain.requests.upscaling.upscale_parameters import UpscaleParameters
from litestar_diffusion.lifecycle import Services
from litestar_diffusion.settings import Settings

_FILE = Path(__file__).parents[1] / "models" / "upscalers" / "demo-x2.safetensors"
_ASKED = GenerationParameters(prompt="a red circle on a blue background", seed=1, num_inference_steps=20)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--side", type=count, default=512, help="of the picture, in pixels (default: 512)")
    parser.add_argument("--repeats", type=count, default=3, help="the fastest counts (default: 3)")
    options = parser.parse_args()
    seconds = asyncio.run(_measured(options.side, options.repeats))
    seconds["spandrel alone"] = _alone(options.side, options.repeats)
    table = Table("work", "seconds", title=f"demo-x2 on {options.side} x {options.side}; demo with a second pass")
    for name, value in seconds.items():
        table.add_row(name, f"{value:.3f}")
    Console().print(table)


async def _measured(side: int, repeats: int) -> dict[str, float]:
    settings = Settings()
    services = build(msgspec.structs.replace(settings, models=msgspec.structs.replace(settings.models, default=None)))
    parameters = UpscaleParameters(image=_png(side), upscaler="demo-x2", scale=2)
    async with services.running():
        await services.catalogues.upscalers.refresh()
        hires = msgspec.structs.replace(_ASKED, hires=Hires(scale=2, strength=0.5, steps=10, upscaler="demo-x2"))
        return {
            "upscale": await _fastest(lambda: services.upscaler.upscale(parameters), repeats),
            "two passes in one request": await _fastest(lambda: services.generator.generate("demo", hires), repeats),
            "the same by hand": await _fastest(lambda: _by_hand(services), repeats),
        }


async def _by_hand(services: Services) -> None:
    first = await services.generator.generate("demo", _ASKED)
    enlarged = await services.upscaler.upscale(
        UpscaleParameters(image=first.images[0].data, upscaler="demo-x2", scale=2)
    )
    second = msgspec.structs.replace(_ASKED, image=enlarged.image.data, strength=0.5)
    await services.generator.generate("demo", second)


async def _fastest(work: Callable[[], Awaitable[object]], repeats: int) -> float:
    found: list[float] = []
    for _ in range(repeats + 1):
        begun = time.perf_counter()
        await work()
        found.append(time.perf_counter() - begun)
    return min(found[1:])


def _alone(side: int, repeats: int) -> float:
    descriptor = ModelLoader().load_from_file(_FILE)
    assert isinstance(descriptor, ImageModelDescriptor)
    torch.set_num_threads(max(1, torch.get_num_threads()))
    found: list[float] = []
    for _ in range(repeats + 1):
        begun = time.perf_counter()
        rows = np.asarray(Image.open(io.BytesIO(_png(side))).convert("RGB"))
        with torch.inference_mode():
            out = descriptor(torch.from_numpy(rows.copy()).permute(2, 0, 1)[None].float() / 255)
        made = Image.fromarray(out[0].mul(255).round().byte().permute(1, 2, 0).numpy())
        made.save(io.BytesIO(), "PNG", compress_level=1)
        found.append(time.perf_counter() - begun)
    return min(found[1:])


def _png(side: int) -> bytes:
    rows = np.random.default_rng(1).integers(0, 256, (side // 8, side // 8, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(rows).resize((side, side), Image.Resampling.BICUBIC).save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()


if __name__ == "__main__":
    main()
