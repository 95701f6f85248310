"""Every key of every config is applied, refused, or listed with the reason why it changes no picture."""

import inspect
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from diffusers import StableDiffusionXLPipeline, schedulers
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from diffusers.schedulers.scheduling_utils import SchedulerMixin
from transformers import CLIPTextConfig, CLIPTokenizer

from litestar_diffusion.domain.families import stated_sampler as stating
from litestar_diffusion.domain.families.reading import NotServable
from litestar_diffusion.domain.families.sdxl import config_values, folder, tokenizer_files
from litestar_diffusion.domain.families.sdxl.configs import TextEncoderConfig, UnetConfig, VaeConfig
from litestar_diffusion.domain.models.spec import ModelTraits
from litestar_diffusion.domain.requests.samplers import SAMPLERS, parse_sampler
from litestar_diffusion.infra.catalogue.models.catalogue import ModelCatalogue
from litestar_diffusion.infra.diffusion.samplers import build_sampler, with_class_defaults
from litestar_diffusion.infra.sdxl.loading.components import SHIPPED_CONFIGS
from tests.catalogues import found
from tests.pipelines import put_pipeline

STRUCTS: dict[str, type[msgspec.Struct]] = {"unet": UnetConfig, "vae": VaeConfig, "text_encoder": TextEncoderConfig}


def keys_of(class_: Any) -> set[str]:
    return set(inspect.signature(class_.__init__).parameters) - {"self", "args", "kwargs"}


KEYS = {
    "unet": keys_of(UNet2DConditionModel),
    "vae": keys_of(AutoencoderKL),
    "text_encoder": set(CLIPTextConfig().to_dict()),
}
SCHEDULERS = {
    name: class_
    for name, class_ in vars(schedulers).items()
    if inspect.isclass(class_) and issubclass(class_, SchedulerMixin) and class_ is not SchedulerMixin
}
SERVED = {name for name in SCHEDULERS if stating.stated_sampler(name, {}) is not None}


@pytest.mark.parametrize("component", STRUCTS)
def test_each_key_of_a_network_is_read_limited_or_known_to_change_nothing(component: str) -> None:
    read = set(STRUCTS[component].__struct_fields__)
    limited, harmless = config_values.SERVED_VALUES[component], config_values.HARMLESS_KEYS[component]
    assert KEYS[component] - read - set(limited) == set(harmless)
    assert all(harmless.values())


@pytest.mark.parametrize("key", sorted(config_values.SERVED_VALUES["unet"]))
def test_another_value_of_a_limited_key_is_refused_by_name(key: str) -> None:
    with pytest.raises(NotServable, match=key):
        config_values.check_values("unet", {key: "another"})


@pytest.mark.parametrize("component", STRUCTS)
def test_the_values_of_lacking_keys_are_those_of_the_class(component: str) -> None:
    class_: Any = {"unet": UNet2DConditionModel, "vae": AutoencoderKL, "text_encoder": CLIPTextConfig}[component]
    usual = (
        CLIPTextConfig().to_dict()
        if component == "text_encoder"
        else {name: each.default for name, each in inspect.signature(class_.__init__).parameters.items()}
    )
    struct: Any = STRUCTS[component]
    ours = {**msgspec.to_builtins(struct()), **config_values.DEFAULTS[component]}
    for key in struct.__struct_fields__:
        theirs = list(usual[key]) if isinstance(usual[key], tuple) else usual[key]
        assert (list(ours[key]) if isinstance(ours[key], tuple) else ours[key]) == theirs, key


@pytest.mark.parametrize("name", sorted(SCHEDULERS))
def test_each_scheduler_of_diffusers_is_a_sampler_or_refused(name: str) -> None:
    sampler = stating.stated_sampler(name, {})
    if sampler is None:
        with pytest.raises(NotServable, match="not served"):
            stating.check_scheduler(name, {})
    else:
        assert parse_sampler(sampler).name in {spec.name for spec in SAMPLERS}


def other_values(name: str) -> Iterator[tuple[str, Any]]:
    """Yield each key of a scheduler's class with another value than its usual one."""
    for parameter in inspect.signature(SCHEDULERS[name].__init__).parameters.values():
        if parameter.name in ("self", "kwargs"):
            continue
        usual = parameter.default
        if isinstance(usual, bool):
            yield parameter.name, not usual
        elif isinstance(usual, int | float):
            yield parameter.name, usual / 2 if parameter.name.startswith("beta") else usual + 1
        else:
            yield parameter.name, "another"


def refusal(name: str, stated: dict[str, Any]) -> str:
    try:
        stating.check_scheduler(name, stated)
    except NotServable as error:
        return str(error)
    return ""


@pytest.mark.parametrize("name", sorted(SERVED))
def test_each_key_of_a_scheduler_reaches_the_sampler_or_is_refused(name: str) -> None:
    usual = {"skip_prk_steps": True} if name == "PNDMScheduler" else {}
    for key, value in other_values(name):
        stated = {**usual, key: value}
        told = refusal(name, stated)
        assert key in told or not told
        if told or key in stating.HARMLESS_KEYS:
            continue
        config = with_class_defaults(name, stated)
        choice = parse_sampler(stating.stated_sampler(name, config) or "")
        traits = ModelTraits(zero_snr=bool(config.get("rescale_betas_zero_snr")))
        sampler: Any = build_sampler(choice, config, traits, None)
        if key.startswith("use_") and value:
            assert choice.schedule in key
        else:
            assert sampler.config[key] == value, key


@pytest.fixture
def pipeline(tmp_path: Path) -> Path:
    return put_pipeline(tmp_path / "pipeline")


def reason(pipeline: Path) -> str:
    known = ModelCatalogue(directories=[pipeline.parent], overrides={}, hub=(), hub_cache=pipeline / "hub")
    return found(known, pipeline.name).unusable or ""


def change(file: Path, **values: Any) -> None:
    config = json.loads(file.read_text()) if file.is_file() else {}
    file.parent.mkdir(exist_ok=True)
    file.write_text(json.dumps({**config, **values}))


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("EDMDPMSolverMultistepScheduler", "EDM model"),
        ("EDMEulerScheduler", "EDM model"),
        ("FlowMatchEulerDiscreteScheduler", "flow-matching"),
        ("ScoreSdeVeScheduler", "ScoreSdeVeScheduler"),
    ],
)
def test_a_folder_with_a_sampler_that_is_not_ours_is_refused(pipeline: Path, name: str, expected: str) -> None:
    change(pipeline / "scheduler" / "scheduler_config.json", _class_name=name)
    assert expected in reason(pipeline)
    change(pipeline / "scheduler" / "scheduler_config.json", _class_name="EulerDiscreteScheduler")
    assert reason(pipeline) == ""
    change(pipeline / "model_index.json", scheduler=["diffusers", name])
    assert expected in reason(pipeline)


def test_the_sampler_of_a_folder_is_its_default(pipeline: Path) -> None:
    config = {"algorithm_type": "sde-dpmsolver++", "use_karras_sigmas": True, "lambda_min_clipped": -float("inf")}
    change(pipeline / "scheduler" / "scheduler_config.json", _class_name="DPMSolverMultistepScheduler", **config)
    known = ModelCatalogue(directories=[pipeline.parent], overrides={}, hub=(), hub_cache=pipeline / "hub")
    spec = found(known, pipeline.name)
    assert (spec.unusable, spec.traits.sampler) == (None, "dpmpp_2m_sde_karras")


@pytest.mark.parametrize(
    ("file", "values", "expected"),
    [
        ("unet/config.json", {"class_embed_type": "timestep"}, "class_embed_type"),
        ("unet/config.json", {"cross_attention_dim": 161}, "conv_in"),
        ("unet/config.json", {"norm_num_groups": 7}, "norm_num_groups, 7,"),
        ("vae/config.json", {"latents_mean": [1, 2]}, "latents_mean"),
        ("vae/config.json", {"scaling_factor": 0}, "scaling_factor"),
        ("text_encoder_2/config.json", {"hidden_act": "odd"}, "hidden_act"),
        ("text_encoder_2/config.json", {"quantization_config": {"bits": 4}}, "quantization_config"),
        ("model_index.json", {"vae": ["diffusers", "AutoencoderTiny"]}, "AutoencoderTiny"),
        ("model_index.json", {"force_zeros_for_empty_prompt": "no"}, "force_zeros_for_empty_prompt"),
        ("tokenizer/tokenizer_config.json", {"padding_side": "left"}, "padding_side"),
        ("tokenizer/tokenizer_config.json", {"model_max_length": 78}, "max_position_embeddings"),
        ("tokenizer/tokenizer_config.json", {"model_max_length": 70}, "differ in model_max_length"),
    ],
)
def test_a_value_that_cannot_be_applied_is_refused(
    pipeline: Path, file: str, values: dict[str, Any], expected: str
) -> None:
    change(pipeline / file, **values)
    text = reason(pipeline)
    assert (expected if expected != "conv_in" else "has shape") in text


def test_byte_order_marks_are_accepted_and_utf_16_is_told(pipeline: Path) -> None:
    for name in ("model_index.json", "unet/config.json", "scheduler/scheduler_config.json"):
        (pipeline / name).write_bytes(b"\xef\xbb\xbf" + (pipeline / name).read_bytes())
    assert reason(pipeline) == ""
    (pipeline / "vae" / "config.json").write_text((pipeline / "vae" / "config.json").read_text(), encoding="utf-16")
    assert "save it as UTF-8" in reason(pipeline)


def test_the_only_variant_is_used(tmp_path: Path) -> None:
    put_pipeline(tmp_path / "pipeline", ".bf16")
    assert reason(tmp_path / "pipeline") == ""


def test_each_key_of_a_tokenizer_is_read_limited_or_known_to_change_nothing(tmp_path: Path) -> None:
    """Those of the class, of SDXL's own file, and of what transformers writes today."""
    CLIPTokenizer.from_pretrained(SHIPPED_CONFIGS / "tokenizer").save_pretrained(tmp_path)
    files = (tmp_path / "tokenizer_config.json", SHIPPED_CONFIGS / "tokenizer_2" / "tokenizer_config.json")
    keys = {key for file in files for key in json.loads(file.read_text())} | keys_of(CLIPTokenizer) - {
        "vocab",
        "merges",
    }
    read = {*tokenizer_files.SPECIAL_TOKENS, "model_max_length", "added_tokens_decoder"}
    assert keys - read - set(tokenizer_files.SERVED_VALUES) <= set(tokenizer_files.HARMLESS_KEYS)


def test_each_part_of_the_pipeline_is_read_or_known_to_change_nothing() -> None:
    read = {"unet", "vae", "text_encoder", "text_encoder_2", "tokenizer", "tokenizer_2", "scheduler"}
    known = read | {"force_zeros_for_empty_prompt"} | set(folder.HARMLESS_KEYS)
    assert keys_of(StableDiffusionXLPipeline) <= known


def test_each_harmless_key_has_its_reason() -> None:
    tables = (folder.HARMLESS_KEYS, tokenizer_files.HARMLESS_KEYS, stating.HARMLESS_KEYS)
    assert all(why for table in tables for why in table.values())
