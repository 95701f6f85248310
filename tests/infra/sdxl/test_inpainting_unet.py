"""UNets of nine channels, made for inpainting: images equal those of diffusers' own inpainting pipeline."""

import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import StableDiffusionXLInpaintPipeline
from PIL import Image

from litestar_diffusion.domain.models.spec import Folder, ModelName, ModelSpec, ModelTraits
from litestar_diffusion.domain.requests.pictures.source import FromImage, FromMaskedImage, FromNoise, Source
from litestar_diffusion.domain.requests.request import GenerationRequest
from litestar_diffusion.infra.device.precision import Precision
from litestar_diffusion.infra.diffusion.samplers import build_sampler
from litestar_diffusion.infra.sdxl.loading.components import SdxlModel
from litestar_diffusion.infra.sdxl.loading.load import load_model
from litestar_diffusion.infra.sdxl.run import SdxlBatchedForward, SdxlRun
from tests.infra.sdxl.checkpoints import CONFIG, demo_tensors, described, loaded, save
from tests.infra.sdxl.test_parity import TOLERANCE, ours
from tests.infra.sdxl.test_picture_parity import SEED, SIDE_PX, asked, drawing, picture, stencil

FIRST = "model.diffusion_model.input_blocks.0.0.weight"
WHITE = Image.new("L", (SIDE_PX, SIDE_PX), 255)
MASKED = FromMaskedImage(
    image=picture(drawing()), mask=picture(stencil()), image_sha256="", mask_sha256="", strength=0.6
)
UNMASKED = FromImage(image=picture(drawing()), image_sha256="", strength=0.6)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The built-in model with five more channels, which act as much as its own do."""
    tensors = demo_tensors()
    own = tensors[FIRST]
    more = torch.randn((len(own), 5, 3, 3), generator=torch.Generator().manual_seed(1)) * own.float().std()
    tensors[FIRST] = torch.cat([own, more.to(own.dtype)], dim=1)
    return save(tmp_path_factory.mktemp("inpainting") / "nine.safetensors", tensors)


@pytest.fixture(scope="module")
def spec(checkpoint: Path) -> ModelSpec:
    return described(checkpoint)


@pytest.fixture(scope="module")
def model(spec: ModelSpec, checkpoint: Path) -> SdxlModel:
    return loaded(spec, checkpoint)


@pytest.fixture(scope="module")
def pipeline(checkpoint: Path) -> Iterator[Any]:
    config = checkpoint.with_name("config")
    shutil.copytree(CONFIG, config)
    unet = config / "unet" / "config.json"
    unet.write_text(json.dumps({**json.loads(unet.read_text()), "in_channels": 9}))
    found: Any = StableDiffusionXLInpaintPipeline.from_single_file(
        str(checkpoint), config=str(config), local_files_only=True
    )
    found.set_progress_bar_config(disable=True)
    return found


def theirs(
    pipeline: Any, model: SdxlModel, request: GenerationRequest, *, mask: Image.Image, strength: float
) -> np.ndarray[Any, Any]:
    pipeline.scheduler = build_sampler(request.sampler, model.sampler_config, model.traits, request.timestep_spacing)
    return (
        255
        * pipeline(
            prompt=request.prompt,
            negative_prompt=request.negative_prompt,
            num_inference_steps=request.num_inference_steps,
            guidance_scale=request.guidance_scale,
            strength=strength,
            image=drawing(),
            mask_image=mask,
            width=SIDE_PX,
            height=SIDE_PX,
            generator=torch.Generator().manual_seed(SEED),
            output_type="np",
        ).images[0]
    )


def test_a_file_is_recognised_by_its_first_layer(spec: ModelSpec) -> None:
    assert (spec.unusable, spec.traits.kind) == (None, "inpainting")


@pytest.mark.parametrize("strength", [0.6, 1.0])
@pytest.mark.parametrize("sampler", ["euler", "heun", "dpmpp_2m", "ddim", "lcm", "euler_a"])
def test_inpainting_equals_that_of_diffusers(pipeline: Any, model: SdxlModel, sampler: str, strength: float) -> None:
    source = FromMaskedImage(image=MASKED.image, mask=MASKED.mask, image_sha256="", mask_sha256="", strength=strength)
    request = asked(sampler, source)
    expected = theirs(pipeline, model, request, mask=stencil(), strength=strength)
    difference = np.abs(ours(model, request) - expected).mean()
    assert difference < TOLERANCE, f"{difference:.3f} of 255"


@pytest.mark.parametrize(("source", "strength"), [(FromNoise(), 1.0), (UNMASKED, 0.6)], ids=["noise", "image"])
def test_without_a_mask_all_of_the_picture_is_painted(
    pipeline: Any, model: SdxlModel, source: Source, strength: float
) -> None:
    request = asked("euler", source)
    expected = theirs(pipeline, model, request, mask=WHITE, strength=strength)
    difference = np.abs(ours(model, request) - expected).mean()
    assert difference < TOLERANCE, f"{difference:.3f} of 255"


def test_what_is_around_the_mask_changes_what_is_painted_in_it(model: SdxlModel) -> None:
    """Without this, the channels could be ignored on both sides of the tests above."""
    other = replace(picture(Image.new("RGB", (SIDE_PX, SIDE_PX), "yellow")), digest="yellow")
    sources = (
        FromMaskedImage(image=image, mask=MASKED.mask, image_sha256="", mask_sha256="", strength=1.0)
        for image in (MASKED.image, other)
    )
    one, two = (ours(model, asked("euler", source)) for source in sources)
    assert np.abs(one - two).mean() > 2


def test_requests_of_each_kind_share_steps(model: SdxlModel) -> None:
    requests = [asked("euler", source) for source in (MASKED, FromNoise(), UNMASKED)]
    alone = [ours(model, request) for request in requests]
    runs, forward = [SdxlRun(model, request) for request in requests], SdxlBatchedForward()
    while going := [run for run in runs if not run.finished]:
        assert forward.step(going) == {}
        for run in going:
            while run.decoding:
                run.decode_next()
    for run, expected in zip(runs, alone, strict=True):
        together = np.frombuffer(run.images[0].pixels, np.uint8).reshape(SIDE_PX, SIDE_PX, 3).astype(float)
        assert np.abs(together - expected).max() <= 1


def test_a_folder_that_diffusers_saved_is_the_same_model(pipeline: Any, model: SdxlModel, tmp_path: Path) -> None:
    pipeline.save_pretrained(tmp_path / "nine")
    traits = ModelTraits(family="sdxl", kind="inpainting")
    spec = ModelSpec(name=ModelName("nine"), source=Folder(path=tmp_path / "nine"), traits=traits)
    of_folder = load_model(spec, tmp_path / "nine", Precision.of(torch.float32), lambda _: None)
    request = asked("euler", MASKED)
    assert np.array_equal(ours(of_folder, request), ours(model, request))
