"""Adapters beside a model equal diffusers' and PEFT's inside of one, and leave the model as it was."""

from pathlib import Path
from typing import Any

import peft as peft_library
import pytest
import torch
from diffusers import StableDiffusionXLPipeline, UNet2DConditionModel
from torch import Tensor

from litestar_diffusion.domain.families.sdxl.tensors.key_tensors import ComponentName
from litestar_diffusion.infra.diffusion.side_paths.side_path import lay_side_paths, standing_in
from litestar_diffusion.infra.sdxl.adapters.adapted import adapt
from litestar_diffusion.infra.sdxl.loading.components import SdxlModel
from tests.adapters import (
    CONVOLUTIONS,
    LINEAR,
    diffusers,
    kohya,
    layers_of,
    loaded,
    lora,
    peft,
    put,
    tensors_of,
    use_of,
)
from tests.infra.sdxl.test_parity import model_named
from tests.infra.sdxl.test_render import MODELS

TOLERANCE = 1e-3
"""Largest difference of an output, of which the largest number is about 1."""
ALL: tuple[ComponentName, ...] = ("unet", "text_encoder", "text_encoder_2")
ROWS = 2


@pytest.fixture
def model() -> SdxlModel:
    return model_named("demo")


@pytest.fixture
def pipeline() -> Any:
    return StableDiffusionXLPipeline.from_single_file(
        str(MODELS / "demo.safetensors"), config=str(MODELS / "demo.config"), local_files_only=True
    )


def unet_output(unet: Any) -> Tensor:
    """Rows x 4 x 16 x 16, of the same noise and prompts at each call."""
    draw = torch.Generator().manual_seed(1)

    def drawn(*shape: int) -> Tensor:
        return torch.randn(shape, generator=draw)

    with torch.inference_mode():
        return unet(
            drawn(ROWS, 4, 16, 16),
            torch.tensor([100.0, 900.0]),
            encoder_hidden_states=drawn(ROWS, 77, 160),
            added_cond_kwargs={"text_embeds": drawn(ROWS, 96), "time_ids": drawn(ROWS, 6)},
            return_dict=False,
        )[0]


def text_output(encoder: Any) -> Tensor:
    ids = torch.arange(77).unsqueeze(0)
    with torch.inference_mode():
        read = encoder(ids, output_hidden_states=True)
    return torch.cat([read.hidden_states[-2].flatten(), read[0].flatten()])


def output(networks: Any, component: ComponentName) -> Tensor:
    network = getattr(networks, component)
    return unet_output(network) if component == "unet" else text_output(network)


def ours(model: SdxlModel, component: ComponentName, *used: tuple[Path, float, float]) -> Tensor:
    """A network's output with adapters, each with its weights."""
    adapted = adapt(model, [use_of(*each) for each in used], [loaded(path) for path, *_ in used])
    assert adapted is not None
    rows = ROWS if component == "unet" else 1
    with standing_in(lay_side_paths([adapted.of(component)] * rows)):
        return output(model, component)


def assert_equal(found: Tensor, wanted: Tensor, unchanged: Tensor) -> None:
    assert (wanted - unchanged).abs().max() > 20 * TOLERANCE, "the adapter changes nothing"
    difference = (found - wanted).abs().max()
    assert difference < TOLERANCE, f"largest difference {difference:.5f}"


def dora(shape: tuple[int, ...], rank: int, draw: torch.Generator) -> dict[str, Tensor]:
    magnitude = torch.rand(shape[0], generator=draw) + 0.5
    return {**lora(shape, rank, draw), "magnitude": magnitude if len(shape) == 2 else magnitude.view(1, -1, 1, 1)}


FORMATS: dict[str, dict[str, Any]] = {
    "kohya": {"spell": kohya, "alpha": 2.0},
    "kohya without alpha": {"spell": kohya},
    "diffusers": {"spell": diffusers},
    "peft": {"spell": peft},
    "peft, DoRA": {"spell": peft, "make": dora},
}


@pytest.fixture
def file(model: SdxlModel, tmp_path: Path) -> Any:
    def make(name: str, ends: tuple[str, ...] = LINEAR, components: Any = ALL, **options: Any) -> Path:
        tensors = tensors_of(layers_of(model, ends, components), **options)
        return put(tmp_path / f"{name}.safetensors", tensors)

    return make


@pytest.mark.parametrize("name", FORMATS)
def test_every_network_equals_that_of_diffusers(name: str, model: SdxlModel, pipeline: Any, file: Any) -> None:
    path = file("style", **FORMATS[name])
    pipeline.load_lora_weights(str(path), adapter_name="style")
    pipeline.set_adapters(["style"], [{"unet": 0.7, "text_encoder": 0.4, "text_encoder_2": 0.4}])
    for component in ALL:
        unchanged = output(model, component)
        assert_equal(ours(model, component, (path, 0.7, 0.4)), output(pipeline, component), unchanged)


@pytest.mark.parametrize("options", [{"spell": peft}, {"spell": peft, "make": dora}, {"spell": kohya, "alpha": 1.0}])
def test_convolutions_equal_those_of_diffusers(options: Any, model: SdxlModel, pipeline: Any, file: Any) -> None:
    path = file("style", CONVOLUTIONS, ["unet"], **options)
    pipeline.load_lora_weights(str(path), adapter_name="style")
    assert_equal(ours(model, "unet", (path, 1.0, 1.0)), unet_output(pipeline.unet), unet_output(model.unet))


TARGETS: dict[str, Any] = {"target_modules": ["to_q", "to_k"]}
OF_PEFT = {
    "LoRA": peft_library.LoraConfig(r=4, lora_alpha=16, alpha_pattern={r".*attn2\.to_(q|v)": 2}, **TARGETS),
    "LoRA, rank-stabilised": peft_library.LoraConfig(r=4, lora_alpha=16, use_rslora=True, **TARGETS),
    "LoHa": peft_library.LoHaConfig(r=4, alpha=16, **TARGETS),
    "LoKr": peft_library.LoKrConfig(r=2, alpha=16, rank_pattern={"to_q": 4}, **TARGETS),
    "LoKr of whole factors": peft_library.LoKrConfig(r=64, alpha=16, rank_pattern={"to_q": 128}, **TARGETS),
}


@pytest.mark.parametrize("name", OF_PEFT)
def test_peft_s_own_files_are_scaled_as_in_peft(name: str, model: SdxlModel, tmp_path: Path) -> None:
    changed = peft_library.get_peft_model(_unet_of(model), OF_PEFT[name])
    changed.save_pretrained(str(tmp_path))
    assert _scales(tmp_path / "adapter_model.safetensors") == _scales_of_peft(changed.base_model.model)


def test_a_unet_s_own_file_is_scaled_as_in_diffusers(model: SdxlModel, tmp_path: Path) -> None:
    unet = _unet_of(model)
    unet.add_adapter(OF_PEFT["LoRA"])
    unet.save_lora_adapter(tmp_path, weight_name="unet.safetensors")
    assert _scales(tmp_path / "unet.safetensors") == _scales_of_peft(unet)


def _unet_of(model: SdxlModel) -> Any:
    return UNet2DConditionModel.from_config(dict(model.unet.config))


def _scales(path: Path) -> dict[str, float]:
    return {layer.layer.name: layer.scale for layer in loaded(path).layers}


def _scales_of_peft(unet: Any) -> dict[str, float]:
    modules = ((name, module.scaling) for name, module in unet.named_modules() if hasattr(module, "scaling"))
    return {name: scaling["default"] for name, scaling in modules if scaling}


@pytest.mark.filterwarnings("ignore:Already found a .peft_config.")
def test_several_at_once_equal_diffusers_set_adapters(model: SdxlModel, pipeline: Any, file: Any) -> None:
    one = file("one", spell=kohya, alpha=2.0, seed=1)
    two = file("two", spell=peft, rank=8, seed=2)
    three = file("three", CONVOLUTIONS, ["unet"], spell=peft, seed=3)
    for path in (one, two, three):
        pipeline.load_lora_weights(str(path), adapter_name=path.stem)
    used = ((one, 0.7, 0.3), (two, -0.4, 1.0), (three, 1.0, 0.0))
    weights = [{"unet": unet, "text_encoder": text, "text_encoder_2": text} for _, unet, text in used[:2]]
    pipeline.set_adapters(["one", "two", "three"], [*weights, {"unet": 1.0}])
    for component in ALL:
        assert_equal(ours(model, component, *used), output(pipeline, component), output(model, component))
