"""What image to image and inpainting cost beside diffusers' pipelines: `uv run python benchmarks/pictures.py`.

The demo model in float32 on the CPU; ours and theirs in turns in one run, each encodes the picture and the prompts itself. CPU
time of one thread is measured, so that other programs disturb it little.
"""

import argparse
import hashlib
import statistics
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from arguments import count
from diffusers import StableDiffusionXLImg2ImgPipeline, StableDiffusionXLInpaintPipeline
from PIL import Image, ImageDraw
from rich.console import Console
from rich.table import Table

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.resident import PROMPT, SEED, load_diffusers, load_ours, request_of
from litestar_diffusion.domain.requests.pictures.picture import Picture
from litestar_diffusion.domain.requests.pictures.source import FromImage, FromMaskedImage, Source
from litestar_diffusion.infra.diffusion.encoded_pictures import EncodedPictures
from litestar_diffusion.infra.sdxl.loading.components import SdxlModel
from litestar_diffusion.infra.sdxl.run import SdxlBatchedForward, SdxlRun

_FILE = Path(__file__).parents[1] / "models" / "demo.safetensors"
_CONFIG = _FILE.with_suffix(".config")
_STEPS, _GUIDANCE, _SIDE_PX, _STRENGTH = 20, 3.0, 128, 0.6
_MOST = 1.0
"""Share of diffusers' time that ours may take."""


def main() -> None:
    """Measure and print; exit with 1 if ours takes longer."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=count, default=5, help="of each figure; the median counts (default: 5)")
    options = parser.parse_args()
    torch.set_num_threads(1)
    model = load_ours(_FILE, _CONFIG, "float32", torch.device("cpu"))
    model.pictures = EncodedPictures(max_nbytes=0)
    text = load_diffusers(_FILE, _CONFIG, torch.float32)
    table = Table("", "ours, ms", "diffusers, ms", "ours / theirs", title=_title())
    ratios = []
    for name, ours, theirs in _cases(model, text):
        seconds = _medians({"ours": ours, "theirs": theirs}, options.repeats)
        ratios.append(seconds["ours"] / seconds["theirs"])
        table.add_row(name, *(f"{each * 1000:.0f}" for each in seconds.values()), f"{ratios[-1]:.2f}")
    Console().print(table)
    sys.exit(max(ratios) > _MOST)


def _title() -> str:
    return f"{_SIDE_PX} px, strength {_STRENGTH:g} of {_STEPS} steps, guidance"


def _cases(model: SdxlModel, text: Any) -> list[tuple[str, Callable[[], None], Callable[[], None]]]:
    drawing, stencil = _drawing(), _stencil()
    image, mask = _picture(drawing), _picture(stencil)
    digests = {"image_sha256": image.digest, "strength": _STRENGTH}
    plain = FromImage(image=image, **digests)
    masked = FromMaskedImage(image=image, mask=mask, mask_sha256=mask.digest, **digests)
    img2img, inpaint = (
        _silent(kind(**text.components))
        for kind in (StableDiffusionXLImg2ImgPipeline, StableDiffusionXLInpaintPipeline)
    )
    size = {"width": _SIDE_PX, "height": _SIDE_PX}
    return [
        ("image to image", lambda: _ours(model, plain), lambda: _theirs(img2img, image=drawing)),
        (
            "inpainting",
            lambda: _ours(model, masked),
            lambda: _theirs(inpaint, image=drawing, mask_image=stencil, **size),
        ),
    ]


def _ours(model: SdxlModel, source: Source) -> None:
    request = request_of(_FILE, _CONFIG, side_px=_SIDE_PX, steps=_STEPS, guidance=_GUIDANCE)
    run, forward = SdxlRun(model, replace(request, source=source)), SdxlBatchedForward()
    while not run.finished:
        forward.step([run])
        while run.decoding:
            run.decode_next()


def _theirs(pipeline: Any, **pictures: Any) -> None:
    pipeline(
        PROMPT,
        num_inference_steps=_STEPS,
        guidance_scale=_GUIDANCE,
        strength=_STRENGTH,
        generator=torch.Generator().manual_seed(SEED),
        **pictures,
    )


def _silent(pipeline: Any) -> Any:
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def _drawing() -> Image.Image:
    image = Image.new("RGB", (_SIDE_PX, _SIDE_PX), "blue")
    ImageDraw.Draw(image).ellipse((_SIDE_PX // 4, _SIDE_PX // 4, _SIDE_PX * 3 // 4, _SIDE_PX * 3 // 4), fill="red")
    return image


def _stencil() -> Image.Image:
    mask = Image.new("L", (_SIDE_PX, _SIDE_PX), 0)
    mask.paste(255, (_SIDE_PX // 2, 0, _SIDE_PX, _SIDE_PX))
    return mask


def _picture(image: Image.Image) -> Picture:
    pixels, channels = image.tobytes(), 1 if image.mode == "L" else 3
    digest = hashlib.sha256(pixels).hexdigest()
    return Picture(digest=digest, width=image.width, height=image.height, channels=channels, pixels=pixels)


def _medians(timed: Mapping[str, Callable[[], None]], repeats: int) -> dict[str, float]:
    """Run all in turns, once in vain, and return the median CPU seconds of each."""
    seconds: dict[str, list[float]] = {name: [] for name in timed}
    for _ in range(repeats + 1):
        for name, act in timed.items():
            begun = time.process_time()
            act()
            seconds[name].append(time.process_time() - begun)
    return {name: statistics.median(each[1:]) for name, each in seconds.items()}


if __name__ == "__main__":
    main()
