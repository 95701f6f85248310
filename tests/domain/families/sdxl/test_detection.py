"""Traits from headers: what a file is, in the order of evidence, and what it is not."""

import pytest

from litestar_diffusion.domain.families.overrides import apply_overrides, refuse_doubtful
from litestar_diffusion.domain.families.reading import CheckpointFile, NotServable, Reading
from litestar_diffusion.domain.families.sdxl.configs import (
    ComponentConfigs,
    SamplerConfig,
    TextEncoderConfig,
    UnetConfig,
    VaeConfig,
)
from litestar_diffusion.domain.families.sdxl.detection import read_header, read_names, read_pipeline
from litestar_diffusion.domain.families.sdxl.family import SDXL as SDXL_FAMILY
from litestar_diffusion.domain.models.spec import FewStep, ModelOverrides
from tests.headers import KEYS, SDXL, Shapes, header_of

BASE = ComponentConfigs()
PIPELINE = "StableDiffusionXLPipeline"


def reading(
    extra: Shapes | None = None, name: str = "model", configs: ComponentConfigs = BASE, **metadata: str
) -> Reading:
    stated = {key.replace("__", "."): value for key, value in metadata.items()}
    return read_header({**SDXL, **(extra or {})}, stated, name, configs)


def test_a_plain_checkpoint() -> None:
    traits = reading().traits
    assert (traits.prediction_type, traits.zero_snr, traits.few_step, traits.size_px) == ("epsilon", False, None, 1024)


def test_v_prediction_and_zero_snr_by_their_keys() -> None:
    found = reading({"v_pred": (), "ztsnr": ()})
    assert found.traits.prediction_type == "v_prediction"
    assert found.traits.zero_snr
    assert any("the key v_pred" in line for line in found.evidence)
    assert any("the key ztsnr" in line for line in found.evidence)


@pytest.mark.parametrize("spelling", ["v", "v_prediction", "V-Prediction"])
def test_v_prediction_by_metadata(spelling: str) -> None:
    assert reading(modelspec__prediction_type=spelling).traits.prediction_type == "v_prediction"


@pytest.mark.parametrize(("stated", "expected"), [("True", True), ("1", True), ("False", False), ("", False)])
def test_zero_snr_by_metadata(stated: str, expected: bool) -> None:
    assert reading(ss_zero_terminal_snr=stated).traits.zero_snr is expected


def test_the_header_beats_the_config_beside_the_file_and_the_config_beats_silence() -> None:
    silent = ComponentConfigs(sampler=SamplerConfig(prediction_type="v_prediction", rescale_betas_zero_snr=True))
    assert reading(configs=silent).traits.prediction_type == "v_prediction"
    assert reading(configs=silent).traits.zero_snr
    assert reading(configs=silent, modelspec__prediction_type="epsilon").traits.prediction_type == "epsilon"
    contrary = ComponentConfigs(sampler=SamplerConfig(prediction_type="epsilon"))
    assert reading({"v_pred": ()}, configs=contrary).traits.prediction_type == "v_prediction"


def test_a_name_alone_makes_no_v_prediction_but_raises_a_doubt() -> None:
    found = reading(name="noobaiXL_vPred10")
    assert found.traits.prediction_type == "epsilon"
    assert "sidecar" in doubt_of(found)
    assert not reading(name="vprecise").doubts


@pytest.mark.parametrize("stated", ["rectified_flow", "sample", "edm", "x" * 1000])
def test_an_unknown_prediction_type_is_refused_until_a_person_states_one(stated: str) -> None:
    found = reading(modelspec__prediction_type=stated)
    with pytest.raises(NotServable, match=r"only epsilon and v_prediction are served.*in its sidecar"):
        refuse_doubtful(found)
    told = apply_overrides(found, ModelOverrides(prediction_type="v_prediction"), "its sidecar")
    refuse_doubtful(told)
    assert (told.traits.prediction_type, told.doubts) == ("v_prediction", ())


def test_zero_snr_without_a_prediction_type_is_v_prediction_in_doubt() -> None:
    found = reading(ss_zero_terminal_snr="True")
    assert (found.traits.prediction_type, found.traits.zero_snr) == ("v_prediction", True)
    assert 'prediction_type = "epsilon"' in doubt_of(found)
    told = apply_overrides(found, ModelOverrides(prediction_type="epsilon"), "its sidecar").traits
    assert (told.prediction_type, told.zero_snr) == ("epsilon", False)


def test_zero_snr_with_epsilon_is_not_applied_and_doubted() -> None:
    found = reading(ss_zero_terminal_snr="True", modelspec__prediction_type="epsilon")
    assert (found.traits.prediction_type, found.traits.zero_snr) == ("epsilon", False)
    assert "exclude each other" in doubt_of(found)


def test_a_doubt_that_a_person_ends_is_in_no_answer() -> None:
    found = reading(name="noobaiXL_vPred10")
    assert apply_overrides(found, ModelOverrides(prediction_type="epsilon"), "its sidecar").doubts == ()


def doubt_of(found: Reading) -> str:
    [doubt] = found.doubts
    assert doubt.text in found.evidence
    return doubt.text


@pytest.mark.parametrize(
    ("name", "metadata", "size_px"),
    [
        ("sd_xl_turbo_1.0_fp16", {}, 512),
        ("dreamshaperXL_turbo", {}, 1024),
        ("sd_xl_turbo_1.0_fp16", {"modelspec__resolution": "1024x1024"}, 1024),
        ("model", {"modelspec__resolution": "768x768"}, 768),
        ("model", {"modelspec__resolution": "832x1216"}, 1024),
        ("model", {"modelspec__resolution": "large"}, 1024),
    ],
)
def test_the_size_is_the_one_stated_or_that_of_the_original(name: str, metadata: dict[str, str], size_px: int) -> None:
    assert reading(name=name, **metadata).traits.size_px == size_px


@pytest.mark.parametrize(
    ("shapes", "what"),
    [
        ({"model.diffusion_model.a": (4,), "conditioner.embedders.0.model.x": (4,)}, "refiner"),
        ({**SDXL, "model.diffusion_model.input_blocks.0.0.weight": (384, 4, 3, 3)}, "refiner"),
        ({**SDXL, "model.diffusion_model.input_blocks.0.0.weight": (320, 8, 3, 3)}, "editing"),
        ({**SDXL, "edm_vpred.sigma_max": ()}, "EDM"),
        ({**SDXL, "model.diffusion_model.time_embed.cond_proj.weight": (320, 256)}, "LCM"),
        ({**SDXL, "scaled_fp8": (0,)}, "quantised"),
        ({"conditioner.embedders.0.transformer.x": (4,)}, "it lacks its UNet; it lacks its VAE"),
        ({"model.diffusion_model.label_emb.0.0.weight": (4,)}, "it lacks its VAE; it lacks its first text encoder"),
    ],
)
def test_relatives_of_sdxl_base_and_parts_of_it_are_refused_by_name(shapes: Shapes, what: str) -> None:
    file = CheckpointFile(shapes=shapes, metadata={}, name="model", read_config=lambda _: None)
    with pytest.raises(NotServable, match=what):
        SDXL_FAMILY.read_checkpoint(file)


@pytest.mark.parametrize(
    ("prefix", "what"),
    [
        ("first_stage_model.", "VAE"),
        ("conditioner.embedders.0.", "first text encoder"),
        ("conditioner.embedders.1.", "second text encoder"),
    ],
)
def test_missing_parts_are_named(prefix: str, what: str) -> None:
    shapes = {key: shape for key, shape in SDXL.items() if not key.startswith(prefix)}
    with pytest.raises(NotServable, match=f"it lacks its {what}. Use a full SDXL checkpoint"):
        read_header(shapes, {}, "model", BASE)


@pytest.mark.parametrize("key", KEYS)
def test_wrong_shapes_and_missing_tensors_are_named(key: str) -> None:
    with pytest.raises(NotServable, match=r"is needed.*<name>\.config"):
        read_header({**SDXL, key: (7,) * len(SDXL[key])}, {}, "model", BASE)
    with pytest.raises(NotServable, match="is missing"):
        read_header({name: shape for name, shape in SDXL.items() if name != key}, {}, "model", BASE)


def test_stray_tensors_do_not_hide_a_whole_model() -> None:
    assert reading({"cond_stage_model.transformer.text_model.x": (4,), "model_ema.decay": ()}).traits.kind == "base"


def test_a_small_variant_fits_its_own_configs_alone() -> None:
    small = ComponentConfigs(
        unet=UnetConfig(
            block_out_channels=(32, 64),
            down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
            up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
            layers_per_block=1,
            transformer_layers_per_block=1,
            cross_attention_dim=160,
            projection_class_embeddings_input_dim=288,
            sample_size=16,
        ),
        vae=VaeConfig(block_out_channels=(8, 16)),
        text_encoder=TextEncoderConfig(vocab_size=656, hidden_size=64, intermediate_size=256, num_hidden_layers=2),
        text_encoder_2=TextEncoderConfig(vocab_size=656, hidden_size=96, intermediate_size=384, num_hidden_layers=2),
    )
    shapes = header_of(small)
    assert read_header(shapes, {}, "small", small).traits.size_px == 128
    with pytest.raises(NotServable):
        read_header(shapes, {}, "small", BASE)
    with pytest.raises(NotServable):
        read_header(SDXL, {}, "large", small)


def test_a_folder_is_told_by_its_configs() -> None:
    configs = ComponentConfigs(
        unet=UnetConfig(sample_size=64),
        sampler=SamplerConfig(prediction_type="v_prediction", rescale_betas_zero_snr=True),
    )
    traits = read_pipeline(PIPELINE, configs, "stabilityai/sdxl-turbo", "mine").traits
    assert (traits.prediction_type, traits.zero_snr, traits.size_px) == ("v_prediction", True, 512)
    assert traits.few_step == FewStep(kind="turbo", steps=1)


@pytest.mark.parametrize(
    ("pipeline", "configs", "what"),
    [
        ("StableDiffusionXLRefinerPipeline", BASE, "StableDiffusionXLRefinerPipeline"),
        (PIPELINE, ComponentConfigs(unet=UnetConfig(in_channels=8)), "8 channels"),
        (PIPELINE, ComponentConfigs(unet=UnetConfig(time_cond_proj_dim=256)), "LCM"),
        (PIPELINE, ComponentConfigs(sampler=SamplerConfig(prediction_type="sample")), "'sample'"),
    ],
)
def test_other_pipelines_are_refused(pipeline: str, configs: ComponentConfigs, what: str) -> None:
    with pytest.raises(NotServable, match=what):
        read_pipeline(pipeline, configs, "model")


def test_a_repository_is_guessed_at_by_its_names() -> None:
    turbo = read_names("stabilityai/sdxl-turbo", "fast").traits
    assert (turbo.few_step, turbo.size_px) == (FewStep(kind="turbo", steps=1), 512)
    named = read_names("someone/model", "my-lightning-2step").traits
    assert named.few_step == FewStep(kind="lightning", steps=2)
    assert read_names("someone/model", "plain").traits.few_step is None
