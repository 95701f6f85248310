"""The engine on real weights: equal to diffusers' own pipeline, offline, and unharmed by errors."""

import asyncio
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import StableDiffusionXLPipeline

from litestar_diffusion.domain.errors import Cancelled, GenerationFailed, NotFinite
from litestar_diffusion.domain.models.spec import ModelOverrides, ModelSpec
from litestar_diffusion.domain.requests.parameters import GenerationParameters, Limits
from litestar_diffusion.domain.requests.rendering import RawImage
from litestar_diffusion.domain.requests.request import GenerationRequest
from litestar_diffusion.domain.requests.resolving.resolution import resolve
from litestar_diffusion.infra.catalogue.models.catalogue import ModelCatalogue
from litestar_diffusion.infra.device.precision import Precision
from litestar_diffusion.infra.sdxl.latents import decode as decoding
from litestar_diffusion.infra.sdxl.loading.components import SdxlModel
from litestar_diffusion.infra.sdxl.loading.load import load_model
from tests.catalogues import found
from tests.infra.engine.one_engine import one_engine
from tests.render import render

MODELS = Path(__file__).parents[3] / "models"


def ignore(*_: Any) -> None:
    """For progress without a watcher."""


def spec_of(name: str = "demo", **stated: Any) -> ModelSpec:
    overrides = {name: ModelOverrides(**stated)}
    known = ModelCatalogue(directories=[MODELS], overrides=overrides, hub=(), hub_cache=MODELS / "none")
    return found(known, name)


def request(spec: ModelSpec, **parameters: Any) -> GenerationRequest:
    said = GenerationParameters(**{"prompt": "a red circle on a blue background", "seed": 7, **parameters})
    return resolve(said, spec, Limits(), random_seed=0).request


@pytest.fixture(scope="module")
def model() -> SdxlModel:
    spec = spec_of()
    return load_model(spec, MODELS / "demo.safetensors", Precision.of(torch.float32), ignore)


def pixels(image: RawImage) -> np.ndarray[Any, Any]:
    return np.frombuffer(image.pixels, np.uint8).reshape(image.height, image.width, 3)


def image_of(model: SdxlModel, **parameters: Any) -> bytes:
    return render(model, request(spec_of(), **parameters), ignore).images[0].pixels


@pytest.mark.parametrize(
    "parameters",
    [
        {},
        {"guidance_scale": 1.0},
        {"negative_prompt": "a green star"},
        {"width": 96, "height": 160, "guidance_rescale": 0.5},
    ],
)
def test_images_equal_those_of_diffusers_own_pipeline(model: SdxlModel, parameters: dict[str, Any]) -> None:
    asked = request(spec_of(), **parameters)
    ours = pixels(render(model, asked, ignore).images[0])
    pipeline = StableDiffusionXLPipeline.from_single_file(
        str(MODELS / "demo.safetensors"), config=str(MODELS / "demo.config"), local_files_only=True
    )
    pipeline.set_progress_bar_config(disable=True)
    theirs = pipeline(
        asked.prompt,
        negative_prompt=asked.negative_prompt or None,
        num_inference_steps=asked.num_inference_steps,
        guidance_scale=asked.guidance_scale,
        guidance_rescale=asked.guidance_rescale,
        width=asked.width,
        height=asked.height,
        generator=torch.Generator().manual_seed(7),
        output_type="np",
    ).images[0]
    difference = np.abs(ours.astype(float) - theirs * 255)
    assert difference.mean() < 1.0, f"mean difference {difference.mean():.2f} of 255, largest {difference.max():.0f}"


def test_no_weight_changes_and_a_cancelled_request_leaves_no_trace(model: SdxlModel) -> None:
    before = image_of(model)

    def stop_at_three(done: int, total: int) -> None:
        if done == 3:
            raise Cancelled("enough")

    with pytest.raises(Cancelled):
        render(model, request(spec_of(), sampler="dpmpp_2m_karras"), stop_at_three)
    assert image_of(model) == before


def test_a_failure_inside_the_decoder_leaves_the_model_as_it_was(
    model: SdxlModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, dtype = image_of(model), model.vae.dtype
    with monkeypatch.context() as broken:
        broken.setattr(type(model.vae.decoder), "forward", _raise)
        with pytest.raises(RuntimeError, match="injected"):
            image_of(model)
    assert model.vae.dtype == dtype
    assert image_of(model) == before


def _raise(*_: Any, **__: Any) -> None:
    raise RuntimeError("injected")


def test_an_image_that_overflows_is_decoded_again_in_float32(model: SdxlModel, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = request(spec_of())
    right = render(model, asked, ignore).images[0].pixels
    overflow: Callable[..., torch.Tensor] = lambda _model, scaled: scaled[:, :3] * torch.nan  # noqa: E731
    monkeypatch.setattr(decoding, "_decode", overflow)
    rescued = render(model, asked, ignore)
    assert rescued.images[0].pixels == right
    assert any("decoded again in float32" in warning for warning in rescued.warnings)


def test_nobody_gets_a_black_image(model: SdxlModel, monkeypatch: pytest.MonkeyPatch) -> None:
    nan: Callable[..., torch.Tensor] = lambda _model, scaled: scaled[:, :3] * torch.nan  # noqa: E731
    monkeypatch.setattr(decoding, "_decode", nan)
    monkeypatch.setattr(decoding, "_decode_fp32", nan)
    with pytest.raises(NotFinite):
        render(model, request(spec_of()), ignore)


def test_the_wrong_prediction_type_gives_another_image() -> None:
    right, wrong = spec_of("demo-vpred"), spec_of("demo-vpred", prediction_type="epsilon", zero_snr=False)
    file = MODELS / "demo-vpred.safetensors"
    images = [
        pixels(
            render(load_model(spec, file, Precision.of(torch.float32), ignore), request(spec), ignore).images[0]
        ).astype(float)
        for spec in (right, wrong)
    ]
    assert np.abs(images[0] - images[1]).mean() > 10


def test_a_local_checkpoint_loads_and_makes_an_image_with_sockets_blocked() -> None:
    script = f"""
import socket
def refuse(*arguments, **options):
    raise AssertionError("a socket was opened")
socket.socket.connect = socket.socket.connect_ex = socket.getaddrinfo = socket.create_connection = refuse
import sys
sys.path.insert(0, {str(Path(__file__).parents[3])!r})
from tests.catalogues import found
from tests.infra.sdxl.test_render import image_of, spec_of, ignore, MODELS
from litestar_diffusion.infra.device.precision import Precision
from litestar_diffusion.infra.sdxl.loading.load import load_model
import torch
model = load_model(spec_of(), MODELS / "demo.safetensors", Precision.of(torch.float32), ignore)
assert len(image_of(model, num_inference_steps=2)) == 128 * 128 * 3
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr


def test_an_unforeseen_failure_is_one_of_ours() -> None:
    async def scenario() -> None:
        engine = one_engine(device="cpu", dtype="float32", threads=0, fetch=_raise)
        await engine.start()
        spec = spec_of()
        model = await engine.loader.load(spec, ignore)
        with pytest.raises(GenerationFailed, match="RuntimeError"):
            await engine.renderer.generate(model, request(spec), _raise)
        rendered = await engine.renderer.generate(model, request(spec, num_inference_steps=1), ignore)
        assert len(rendered.images) == 1
        await engine.loader.unload(model)
        await engine.stop()

    asyncio.run(scenario())
