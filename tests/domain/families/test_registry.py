"""The registry asks every family: a model is read by the one that knows it, and refused in the words that fit it."""

import pytest

from litestar_diffusion.domain.families import registry
from litestar_diffusion.domain.families.reading import CheckpointFile, DiffusersFolder, NotServable
from tests.headers import SDXL, Shapes


@pytest.fixture
def two_families(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "FAMILIES", [*registry.FAMILIES, "tests.toy.family:TOY"])


def file(shapes: Shapes) -> CheckpointFile:
    return CheckpointFile(shapes=shapes, metadata={}, name="model", read_config=lambda _: None)


def folder(pipeline: str) -> DiffusersFolder:
    return DiffusersFolder(
        pipeline=pipeline, parts={}, names=("model",), read_config=lambda _: None, read_shapes=lambda _: {}
    )


@pytest.mark.usefixtures("two_families")
@pytest.mark.parametrize(("shapes", "family"), [(SDXL, "sdxl"), ({"toy.colour": (3,)}, "toy")])
def test_a_file_is_read_by_the_family_that_knows_it(shapes: Shapes, family: str) -> None:
    assert registry.read_checkpoint(file(shapes)).traits.family == family


@pytest.mark.usefixtures("two_families")
@pytest.mark.parametrize(
    ("shapes", "what"),
    [
        ({**SDXL, "scaled_fp8": (0,)}, "quantised checkpoint"),
        ({"toy.colour": (4,)}, "toy without three colours"),
        ({"double_blocks.0.x": (4,)}, "a Flux model; only models of SDXL and Toy are served"),
    ],
)
def test_of_two_families_that_refuse_the_one_that_knows_the_file_gives_the_reason(shapes: Shapes, what: str) -> None:
    with pytest.raises(NotServable, match=what):
        registry.read_checkpoint(file(shapes))


@pytest.mark.usefixtures("two_families")
def test_a_family_that_finds_a_file_unfit_leaves_it_to_one_that_can_serve_it() -> None:
    stray = {"conditioner.embedders.0.x": (4,)}
    assert registry.read_checkpoint(file({"toy.colour": (3,), **stray})).traits.family == "toy"


def test_folders_of_other_pipelines_are_refused_by_their_name() -> None:
    with pytest.raises(NotServable, match="describes a FluxPipeline; only models of SDXL are served"):
        registry.read_folder(folder("FluxPipeline"))


@pytest.mark.parametrize(
    ("shapes", "what"),
    [
        ({"lora_unet_down.lora_down.weight": (4, 4)}, "LoRA"),
        ({"unet.down_blocks.0.attn.to_k.lora_A.weight": (4, 4)}, "LoRA"),
        ({"double_blocks.0.img_attn.qkv.weight": (4, 4)}, "Flux"),
        ({"model.diffusion_model.double_blocks.0.img_attn.qkv.weight": (4, 4)}, "Flux"),
        ({"model.diffusion_model.joint_blocks.0.x": (4,)}, "Stable Diffusion 3"),
        ({"model.diffusion_model.a": (4,), "cond_stage_model.transformer.text_model.x": (4,)}, "Stable Diffusion 1"),
        ({"model.diffusion_model.a": (4,), "cond_stage_model.model.transformer.x": (4,)}, "Stable Diffusion 2"),
        ({"encoder.conv_in.weight": (4,), "decoder.up.0.x": (4,)}, "VAE alone"),
        ({"first_stage_model.decoder.conv_in.weight": (4,)}, "VAE alone"),
        ({"down_blocks.0.x": (4,), "up_blocks.0.x": (4,)}, "UNet alone"),
        ({"controlnet_cond_embedding.x": (4,), "down_blocks.0.x": (4,)}, "ControlNet"),
        ({"text_model.encoder.layers.0.x": (4,)}, "text encoder alone"),
        ({"clip_l": (8, 768), "clip_g": (8, 1280)}, "textual inversion"),
        ({"something.else": (4,)}, "not a checkpoint of a known kind.*'something'"),
        ({}, "holds no tensors"),
    ],
)
def test_files_of_no_family_are_told_what_they_are(shapes: Shapes, what: str) -> None:
    with pytest.raises(NotServable, match=what):
        registry.read_checkpoint(file(shapes))
