"""Image to image and inpainting, sampler by sampler: one image of ours equals that of diffusers' own SDXL pipelines."""

import functools
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import StableDiffusionXLImg2ImgPipeline, StableDiffusionXLInpaintPipeline
from PIL import Image, ImageDraw

from litestar_diffusion.domain.requests.pictures.picture import Picture
from litestar_diffusion.domain.requests.pictures.source import FromImage, FromMaskedImage, Source
from litestar_diffusion.domain.requests.request import GenerationRequest
from litestar_diffusion.domain.requests.samplers import SAMPLERS
from litestar_diffusion.infra.diffusion.samplers import build_sampler
from tests.infra.sdxl.test_parity import _ETA, MODELS, TOLERANCE, model_named, ours, spec_named
from tests.infra.sdxl.test_render import request

SIDE_PX, STEPS, SEED = 64, 5, 7
ONLY_WHOLE = ("lms", "pndm")
"""Samplers whose first steps diffusers takes wrongly in the middle of a schedule; see `test_samplers` for those."""
EVERY_SAMPLER = [(spec.name, 1.0 if spec.name in ONLY_WHOLE else 0.6) for spec in SAMPLERS]
EXTREMES = [(name, strength) for name in ("euler", "heun", "ddim", "lcm") for strength in (0.2, 1.0)]
PROMPT, NEGATIVE = "a green square on a white background", "a red circle"


@functools.cache
def pipeline(kind: Any) -> Any:
    found = kind.from_single_file(
        str(MODELS / "demo.safetensors"), config=str(MODELS / "demo.config"), local_files_only=True
    )
    found.set_progress_bar_config(disable=True)
    return found


def drawing() -> Image.Image:
    image = Image.new("RGB", (SIDE_PX, SIDE_PX), "blue")
    ImageDraw.Draw(image).ellipse((16, 16, 48, 48), fill="red")
    return image


def stencil() -> Image.Image:
    mask = Image.new("L", (SIDE_PX, SIDE_PX), 0)
    ImageDraw.Draw(mask).rectangle((24, 8, 63, 47), fill=255)
    return mask


def picture(image: Image.Image) -> Picture:
    channels = 1 if image.mode == "L" else 3
    return Picture(
        digest=f"{image.mode}{image.size}",
        width=image.width,
        height=image.height,
        channels=channels,
        pixels=image.tobytes(),
    )


def asked(sampler: str, source: Source, **said: Any) -> GenerationRequest:
    found = request(
        spec_named("demo"),
        prompt=PROMPT,
        negative_prompt=NEGATIVE,
        sampler=sampler,
        num_inference_steps=STEPS,
        guidance_scale=5.0,
        width=SIDE_PX,
        height=SIDE_PX,
        seed=SEED,
        **said,
    )
    return replace(found, source=source)


def theirs(kind: Any, request: GenerationRequest, **pictures: Any) -> np.ndarray[Any, Any]:
    model, source = model_named("demo"), request.source
    assert isinstance(source, FromImage | FromMaskedImage)
    found = pipeline(kind)
    found.scheduler = build_sampler(request.sampler, model.sampler_config, model.traits, request.timestep_spacing)
    image = found(
        prompt=request.prompt,
        negative_prompt=request.negative_prompt,
        num_inference_steps=request.num_inference_steps,
        guidance_scale=request.guidance_scale,
        strength=source.strength,
        eta=_ETA.get(request.sampler.name, 0.0),
        generator=torch.Generator().manual_seed(SEED),
        output_type="np",
        **pictures,
    ).images[0]
    return image * 255


@pytest.mark.parametrize(("sampler", "strength"), [*EVERY_SAMPLER, *EXTREMES])
def test_image_to_image_equals_that_of_diffusers(sampler: str, strength: float) -> None:
    request = asked(sampler, FromImage(image=picture(drawing()), image_sha256="", strength=strength))
    difference = np.abs(
        ours(model_named("demo"), request) - theirs(StableDiffusionXLImg2ImgPipeline, request, image=drawing())
    )
    assert difference.mean() < TOLERANCE, f"{difference.mean():.3f} of 255"


@pytest.mark.parametrize(("sampler", "strength"), [*EVERY_SAMPLER, *EXTREMES])
def test_inpainting_equals_that_of_diffusers(sampler: str, strength: float) -> None:
    source = FromMaskedImage(
        image=picture(drawing()), mask=picture(stencil()), image_sha256="", mask_sha256="", strength=strength
    )
    request = asked(sampler, source)
    expected = theirs(
        StableDiffusionXLInpaintPipeline,
        request,
        image=drawing(),
        mask_image=stencil(),
        width=SIDE_PX,
        height=SIDE_PX,
    )
    difference = np.abs(ours(model_named("demo"), request) - expected)
    assert difference.mean() < TOLERANCE, f"{difference.mean():.3f} of 255"
