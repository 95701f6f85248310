"""Traits from headers: what a file is, in the order of evidence, and what it is not."""

from pathlib import Path

import pytest

from litestar_diffusion.domain.checkpoint import NotServable, Reading, apply_overrides, read_checkpoint
from litestar_diffusion.domain.component_configs import ComponentConfigs
from litestar_diffusion.domain.model import FewStep, ModelOverrides
from litestar_diffusion.infra.component_configs import read_component_configs
from litestar_diffusion.infra.header import read_header

MODELS = Path(__file__).parents[2] / "models"
CONFIGS = read_component_configs(MODELS / "demo.config")
SDXL = read_header(MODELS / "demo.safetensors").shapes
"""A whole SDXL checkpoint, small."""
UNET = "model.diffusion_model.input_blocks.0.0.weight"


def reading(extra: dict[str, tuple[int, ...]] | None = None, name: str = "model", **metadata: str) -> Reading:
    stated = {key.replace("__", "."): value for key, value in metadata.items()}
    return read_checkpoint({**SDXL, **(extra or {})}, stated, name, CONFIGS)


def test_a_plain_checkpoint() -> None:
    traits = reading().traits
    assert (traits.prediction_type, traits.zero_snr, traits.few_step, traits.size_px) == ("epsilon", False, None, 128)


def test_v_prediction_and_zero_snr_by_their_keys() -> None:
    found = reading({"v_pred": (), "ztsnr": ()})
    assert found.traits.prediction_type == "v_prediction"
    assert found.traits.zero_snr
    assert any("the key v_pred" in line for line in found.evidence)


@pytest.mark.parametrize("spelling", ["v", "v_prediction", "V-Prediction"])
def test_v_prediction_by_metadata(spelling: str) -> None:
    assert reading(modelspec__prediction_type=spelling).traits.prediction_type == "v_prediction"


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("sd_xl_turbo_1.0_fp16", FewStep(kind="turbo", steps=1)),
        ("juggernautXL_v9_Lightning", FewStep(kind="lightning", steps=4)),
        ("sdxl_lightning_8step", FewStep(kind="lightning", steps=8)),
        ("Hyper-SDXL-1step", FewStep(kind="hyper", steps=1)),
        ("my-lcm-model", FewStep(kind="lcm", steps=4)),
        ("dmd2_sdxl_4step", FewStep(kind="dmd2", steps=4)),
        ("calcmachine", None),
        ("ordinary", None),
    ],
)
def test_few_step_kinds_by_name(name: str, expected: FewStep | None) -> None:
    assert reading(name=name).traits.few_step == expected


def test_metadata_beats_the_name() -> None:
    assert reading(name="x-turbo", modelspec__title="X Lightning 2 steps").traits.few_step == FewStep(
        kind="lightning", steps=2
    )


def test_what_a_person_states_beats_what_is_found_and_the_evidence_says_so() -> None:
    found = reading({"v_pred": ()}, name="x-turbo")
    stated = apply_overrides(found, ModelOverrides(prediction_type="epsilon", few_step=False), "the sidecar")
    assert stated.traits.prediction_type == "epsilon"
    assert stated.traits.few_step is None
    assert "the sidecar says so" in stated.evidence[0]


@pytest.mark.parametrize(
    ("shapes", "what"),
    [
        ({"lora_unet_down.lora_down.weight": (4, 4)}, "LoRA"),
        ({"double_blocks.0.img_attn.qkv.weight": (4, 4)}, "Flux"),
        ({"model.diffusion_model.joint_blocks.0.x": (4,)}, "Stable Diffusion 3"),
        ({"model.diffusion_model.a": (4,), "cond_stage_model.transformer.text_model.x": (4,)}, "Stable Diffusion 1"),
        ({"model.diffusion_model.a": (4,), "cond_stage_model.model.transformer.x": (4,)}, "Stable Diffusion 2"),
        (
            {
                "encoder.conv_in.weight": (4,),
                "decoder.conv_in.weight": (4,),
                "decoder.conv_out.weight": (3,),
                "quant_conv.weight": (8,),
            },
            "VAE alone",
        ),
        ({"down_blocks.0.x": (4,), "up_blocks.0.x": (4,)}, "UNet alone"),
        ({"model.diffusion_model.a": (4,), "conditioner.embedders.0.model.x": (4,)}, "refiner"),
        ({**SDXL, UNET: (320, 9, 3, 3)}, "inpainting"),
        ({"something": (4,)}, "not a Stable Diffusion checkpoint"),
    ],
)
def test_what_is_not_sdxl_base_is_recognised(shapes: dict[str, tuple[int, ...]], what: str) -> None:
    with pytest.raises(NotServable, match=what):
        read_checkpoint(shapes, {}, "model", CONFIGS)


@pytest.mark.parametrize("prefix", ["first_stage_model.", "conditioner.embedders.0.", "conditioner.embedders.1."])
def test_missing_parts_are_named(prefix: str) -> None:
    shapes = {key: shape for key, shape in SDXL.items() if not key.startswith(prefix)}
    with pytest.raises(NotServable, match=r"first|second|VAE|lacks|missing"):
        read_checkpoint(shapes, {}, "model", CONFIGS)


@pytest.mark.parametrize(
    "key", [UNET, "first_stage_model.decoder.conv_out.weight", "conditioner.embedders.1.model.token_embedding.weight"]
)
def test_wrong_shapes_are_named_with_a_way_out(key: str) -> None:
    with pytest.raises(NotServable, match=r"is needed.*<name>\.config"):
        read_checkpoint({**SDXL, key: (7,) * len(SDXL[key])}, {}, "model", CONFIGS)


def test_a_small_model_does_not_pass_for_a_full_one() -> None:
    with pytest.raises(NotServable, match="is needed"):
        read_checkpoint(SDXL, {}, "model", ComponentConfigs())
