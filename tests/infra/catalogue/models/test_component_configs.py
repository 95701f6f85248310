"""What headers are checked against is what the configs say and what the real networks have."""

from pathlib import Path

import pytest
from diffusers.models.attention import BasicTransformerBlock

from litestar_diffusion.domain.families.reading import NotServable
from litestar_diffusion.domain.families.sdxl import configs
from litestar_diffusion.domain.families.sdxl.configs import ComponentConfigs
from litestar_diffusion.domain.families.sdxl.tensors.key_tensors import COMPONENTS, ComponentName, component_problems
from litestar_diffusion.infra.catalogue.models.component_configs import config_reader
from litestar_diffusion.infra.sdxl.loading.components import SHIPPED_CONFIGS, build_network


def read_component_configs(folder: Path) -> ComponentConfigs:
    return configs.read_component_configs(config_reader(folder))


MODELS = Path(__file__).parents[4] / "models"


def test_the_sizes_assumed_without_configs_are_those_of_the_shipped_configs() -> None:
    shipped, assumed = read_component_configs(SHIPPED_CONFIGS), ComponentConfigs()
    for component in COMPONENTS:
        for name in getattr(assumed, component).__struct_fields__:
            if name != "sample_size":  # a turbo file without configs is told by its name
                assert getattr(getattr(shipped, component), name) == getattr(getattr(assumed, component), name)


@pytest.mark.parametrize("folder", [SHIPPED_CONFIGS, MODELS / "demo.config"], ids=["sdxl", "demo"])
@pytest.mark.parametrize("component", COMPONENTS)
def test_the_key_tensors_are_those_of_the_real_networks(folder: Path, component: ComponentName) -> None:
    network = build_network(component, folder)
    shapes = {key: tuple(tensor.shape) for key, tensor in network.state_dict().items()}
    assert component_problems(component, shapes, read_component_configs(folder)) == []


@pytest.mark.parametrize("folder", [SHIPPED_CONFIGS, MODELS / "demo.config"], ids=["sdxl", "demo"])
def test_the_channels_that_attend_to_a_prompt_are_those_of_the_real_unet(folder: Path) -> None:
    blocks = [block for block in build_network("unet", folder).modules() if isinstance(block, BasicTransformerBlock)]
    channels = sum(block.attn2.to_k.out_features for block in blocks if block.attn2 is not None)
    assert read_component_configs(folder).widths.prompt == channels


def test_a_folder_without_configs_is_taken_for_sdxl(tmp_path: Path) -> None:
    assert read_component_configs(tmp_path) == ComponentConfigs()


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("{", "not as it should be"),
        ("[]", "Expected `object`"),
        ('{"in_channels": "four"}', "in_channels"),
        ('{"block_out_channels": [320]}', "differ in length"),
        ('{"transformer_layers_per_block": [1, 2]}', "differ in length"),
    ],
)
def test_broken_configs_are_told_by_name(tmp_path: Path, text: str, reason: str) -> None:
    (tmp_path / "unet").mkdir()
    (tmp_path / "unet" / "config.json").write_text(text)
    with pytest.raises(NotServable, match=rf"unet/config\.json.*{reason}"):
        read_component_configs(tmp_path)
