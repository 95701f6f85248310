"""A preview is a small, rough picture of what will come, with any sampler and any noise."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from litestar_diffusion.domain.families.sdxl.preview_factors import SDXL_PREVIEW
from litestar_diffusion.domain.models.spec import ModelSpec
from litestar_diffusion.domain.requests.parameters import GenerationParameters, Limits
from litestar_diffusion.domain.requests.rendering import RawImage
from litestar_diffusion.domain.requests.request import GenerationRequest
from litestar_diffusion.domain.requests.resolving.resolution import resolve
from litestar_diffusion.infra.catalogue.models.catalogue import ModelCatalogue
from litestar_diffusion.infra.device.precision import Precision
from litestar_diffusion.infra.diffusion.latent_preview import (
    denoised,
    preview,
    preview_size,
    signal_at,
)
from litestar_diffusion.infra.diffusion.samplers import build_sampler
from litestar_diffusion.infra.sdxl.denoise import Forward, ImageDenoise
from litestar_diffusion.infra.sdxl.latents.decode import decode
from litestar_diffusion.infra.sdxl.loading.components import SdxlModel
from litestar_diffusion.infra.sdxl.loading.load import load_model
from litestar_diffusion.infra.sdxl.text import encode
from tests.catalogues import found
from training.drawing import draw
from training.reading import Reading, read_picture
from training.scenes import held_out_scenes
from training.vae import as_input

MODELS = Path(__file__).parents[3] / "models"
CLOSE = 9.0
"""Mean absolute error, of 255, between a preview and the decoded image; edges are as wide as a latent's cell."""


def spec_of(name: str) -> ModelSpec:
    return found(ModelCatalogue(directories=[MODELS], overrides={}, hub=(), hub_cache=MODELS / "none"), name)


@pytest.fixture(scope="module", params=["demo", "demo-vpred"])
def model(request: pytest.FixtureRequest) -> tuple[ModelSpec, SdxlModel]:
    spec = spec_of(request.param)
    return spec, load_model(spec, MODELS / f"{request.param}.safetensors", Precision.of(torch.float32), lambda _: None)


def asked(spec: ModelSpec, **parameters: Any) -> GenerationRequest:
    said = GenerationParameters(**{"prompt": "a red circle on a blue background", "seed": 7, **parameters})
    return resolve(said, spec, Limits(), random_seed=0).request


def pixels(image: RawImage) -> np.ndarray[Any, Any]:
    return np.frombuffer(image.pixels, np.uint8).reshape(image.height, image.width, 3).astype(float)


def picture(image: RawImage) -> Image.Image:
    return Image.frombytes("RGB", (image.width, image.height), image.pixels)


def error(shown: RawImage, other: RawImage) -> float:
    """Mean absolute difference at the size of the first, of 255."""
    truth = picture(other).resize((shown.width, shown.height), Image.Resampling.BOX)
    return float(np.abs(pixels(shown) - np.asarray(truth)).mean())


def reading(image: RawImage) -> Reading:
    return read_picture(picture(image).resize((128, 128), Image.Resampling.BILINEAR))


@torch.inference_mode()
def painted(
    spec: ModelSpec, model: SdxlModel, request: GenerationRequest
) -> tuple[list[tuple[RawImage, RawImage]], RawImage, RawImage]:
    """What the state and the denoised estimate look like at each step, then the final latents and the decoded image."""
    denoise = ImageDenoise(model, request, encode(model, request), 7)
    forward = Forward(model, [denoise])
    sampler = build_sampler(request.sampler, model.sampler_config, model.traits, request.timestep_spacing)
    seen: list[tuple[RawImage, RawImage]] = []
    while not denoise.finished:
        state, at = denoise.model_input(), float(denoise.timestep())
        prediction = forward.predictions()[0]
        guided = prediction if len(prediction) == 1 else prediction[:1].lerp(prediction[1:], request.guidance_scale)
        clean = denoised(state, guided, signal_at(sampler, at), model.traits.prediction_type)
        seen.append((preview(state, model.preview), preview(clean, model.preview)))
        denoise.advance(prediction)
    return seen, preview(denoise.latents, model.preview), decode(model, denoise.latents)[0]


@torch.inference_mode()
def test_encoded_drawings_look_like_themselves(model: tuple[ModelSpec, SdxlModel]) -> None:
    _, loaded = model
    vae: Any = loaded.vae
    for scene in held_out_scenes(12):
        drawing = draw(scene)
        latents = vae.encode(as_input(torch.from_numpy(np.array(drawing)).permute(2, 0, 1)[None])).latent_dist.mode()
        shown = preview(latents * vae.config.scaling_factor, loaded.preview)
        truth = RawImage(width=128, height=128, pixels=drawing.tobytes())
        assert error(shown, truth) < CLOSE, scene.caption
        seen = reading(shown)
        assert seen.background == scene.background
        assert seen.figures[0].colour == scene.figures[0].colour


@pytest.mark.parametrize("sampler", ["euler", "dpmpp_2m", "ddim"])
def test_final_latents_look_like_the_decoded_image(model: tuple[ModelSpec, SdxlModel], sampler: str) -> None:
    spec, loaded = model
    _, last, decoded = painted(spec, loaded, asked(spec, sampler=sampler))
    assert error(last, decoded) < CLOSE
    shown, truth = reading(last), reading(decoded)
    assert (shown.background, shown.figures[0].colour) == (truth.background, truth.figures[0].colour) == ("blue", "red")


@pytest.mark.parametrize("sampler", ["euler", "euler_a", "dpmpp_2m", "heun", "ddim", "unipc"])
def test_the_denoised_estimate_shows_the_image_half_way_with_every_kind_of_sampler(
    model: tuple[ModelSpec, SdxlModel], sampler: str
) -> None:
    spec, loaded = model
    seen, _, decoded = painted(spec, loaded, asked(spec, sampler=sampler))
    state, clean = seen[len(seen) // 2]
    assert error(clean, decoded) < 16
    assert error(clean, decoded) < error(state, decoded)
    assert reading(clean).background == "blue"


@pytest.mark.parametrize(
    ("latents", "size"),
    [
        ((16, 16), (64, 64)),
        ((12, 16), (48, 64)),
        ((128, 128), (256, 256)),
        ((96, 168), (146, 256)),
        ((512, 512), (256, 256)),
        ((1, 512), (1, 256)),
    ],
)
def test_a_preview_has_four_pixels_a_cell_and_keeps_the_bound(latents: tuple[int, int], size: tuple[int, int]) -> None:
    assert preview_size(*latents) == size
    shown = preview(torch.zeros(1, 4, *latents), SDXL_PREVIEW)
    assert (shown.height, shown.width) == size
    assert len(shown.pixels) == 3 * size[0] * size[1]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_every_float_type_can_be_shown_and_is_left_as_it_was(dtype: torch.dtype) -> None:
    latents = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(0)).to(dtype)
    before = latents.clone()
    exact = preview(latents.float(), SDXL_PREVIEW)
    assert preview(latents, SDXL_PREVIEW) == exact
    assert torch.equal(latents, before)


def test_what_is_not_finite_is_grey_rather_than_an_error() -> None:
    latents = torch.full((1, 4, 8, 8), torch.nan)
    assert set(preview(latents, SDXL_PREVIEW).pixels) == {128}


def test_the_map_is_the_one_that_is_published_for_sdxl() -> None:
    """A latent of zeros has the colour of the bias; each channel adds its row."""
    flat = preview(torch.zeros(1, 4, 1, 1), SDXL_PREVIEW)
    assert list(flat.pixels[:3]) == [round((bias + 1) * 127.5) for bias in SDXL_PREVIEW.bias]
    one = torch.zeros(1, 4, 1, 1)
    one[0, 2] = 1
    wanted = [row + bias for row, bias in zip(SDXL_PREVIEW.factors[2], SDXL_PREVIEW.bias, strict=True)]
    assert list(preview(one, SDXL_PREVIEW).pixels[:3]) == [round((value + 1) * 127.5) for value in wanted]


def test_a_model_without_factors_of_its_own_has_those_of_sdxl(model: tuple[ModelSpec, SdxlModel]) -> None:
    spec, loaded = model
    assert loaded.preview == spec.overrides.preview != SDXL_PREVIEW
    silent = dataclasses.replace(spec, overrides=type(spec.overrides)())
    file = MODELS / f"{spec.name}.safetensors"
    assert load_model(silent, file, Precision.of(torch.float32), lambda _: None).preview == SDXL_PREVIEW


@pytest.mark.parametrize("kind", ["epsilon", "v_prediction"])
@pytest.mark.parametrize("signal", [0.99, 0.3, 0.01])
def test_a_perfect_prediction_gives_the_image_back(kind: Any, signal: float) -> None:
    image, noise = torch.randn(2, 1, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    state = signal**0.5 * image + (1 - signal) ** 0.5 * noise
    velocity: Tensor = signal**0.5 * noise - (1 - signal) ** 0.5 * image
    found = denoised(state, noise if kind == "epsilon" else velocity, signal, kind)
    torch.testing.assert_close(found, image, atol=1e-4, rtol=1e-4)


def test_without_any_signal_a_predicted_noise_tells_nothing_and_a_velocity_everything() -> None:
    state, other = torch.randn(2, 1, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    assert torch.equal(denoised(state, other, 0.0, "epsilon"), state)
    torch.testing.assert_close(denoised(state, -other, 0.0, "v_prediction"), other)
