"""What a preview costs beside a step of the denoiser: `python benchmarks/previews.py [model] [side] [repeats]`.

The model is one of `models/`, by name; the side is in pixels. Prints medians of single runs, taken in turns.
"""

import asyncio
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch

from litestar_diffusion.domain.requests.parameters import GenerationParameters, Limits
from litestar_diffusion.domain.requests.request import GenerationRequest
from litestar_diffusion.domain.requests.resolving.resolution import resolve
from litestar_diffusion.infra.catalogue.models.catalogue import ModelCatalogue
from litestar_diffusion.infra.device.precision import Precision
from litestar_diffusion.infra.diffusion.latent_preview import denoised, preview
from litestar_diffusion.infra.sdxl.denoise import Forward, ImageDenoise
from litestar_diffusion.infra.sdxl.loading.components import SdxlModel
from litestar_diffusion.infra.sdxl.loading.load import load_model
from litestar_diffusion.infra.sdxl.text import encode

MODELS = Path(__file__).parents[1] / "models"


def main(name: str = "demo", side_px: int = 128, repeats: int = 100) -> None:
    """Print a line for each part, and the ratio."""
    spec = asyncio.run(ModelCatalogue(directories=[MODELS], overrides={}, hub=()).find(name))
    model = load_model(spec, MODELS / f"{name}.safetensors", Precision.of(torch.float32), lambda _: None)
    parameters = GenerationParameters(prompt="a red circle on a blue background", width=side_px, height=side_px, seed=1)
    request = resolve(parameters, spec, Limits(), random_seed=0).request
    with torch.inference_mode():
        _report(name, model, request, repeats)


def _report(name: str, model: SdxlModel, request: GenerationRequest, repeats: int) -> None:
    denoise = ImageDenoise(model, request, encode(model, request), seed=1)
    forward = Forward(model, [denoise])
    state, prediction = denoise.model_input(), forward.predictions()[0][:1]

    def shown() -> None:
        preview(denoised(state, prediction, 0.5, model.traits.prediction_type), model.preview)

    step_s, preview_s = _timed([forward.predictions, shown], repeats)
    print(f"{name}, {request.width} x {request.height}, {torch.get_num_threads()} threads, median of {repeats}")
    print(f"step of the denoiser, with guidance: {step_s * 1e3:8.3f} ms")
    print(f"denoised estimate and preview:       {preview_s * 1e3:8.3f} ms, {preview_s / step_s:.2%} of a step")


def _timed(parts: list[Callable[[], object]], repeats: int) -> list[float]:
    seconds: list[list[float]] = [[] for _ in parts]
    for part in parts:
        part()
    for _ in range(repeats):
        for part, taken in zip(parts, seconds, strict=True):
            begun = time.perf_counter()
            part()
            taken.append(time.perf_counter() - begun)
    return [statistics.median(taken) for taken in seconds]


if __name__ == "__main__":
    main(*sys.argv[1:2], *map(int, sys.argv[2:]))
