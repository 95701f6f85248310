"""Smaller variants of SDXL as single files: the UNet that their keys tell is the one that diffusers builds from their configs."""

import msgspec
import pytest

from litestar_diffusion.domain.families.reading import CheckpointFile
from litestar_diffusion.domain.families.sdxl.configs import ComponentConfigs, UnetConfig
from litestar_diffusion.domain.families.sdxl.family import SDXL
from litestar_diffusion.domain.families.sdxl.tensors.key_tensors import network_tensors
from litestar_diffusion.domain.families.sdxl.variants import layers_of_file
from litestar_diffusion.infra.sdxl.loading.components import SHIPPED_CONFIGS, build_network
from tests.headers import header_of

VARIANTS = {
    "SDXL": UnetConfig(),
    "SSD-1B": UnetConfig(
        transformer_layers_per_block=(1, (2, 2), (4, 4)),
        reverse_transformer_layers_per_block=((4, 4, 10), (2, 1, 1), 1),
        mid_block_type="UNetMidBlock2D",
    ),
    "Vega": UnetConfig(
        transformer_layers_per_block=(1, (1, 1), (2, 2)),
        reverse_transformer_layers_per_block=((2, 2, 2), (1, 1, 1), 1),
        mid_block_type="UNetMidBlock2D",
    ),
    "KOALA-700M": UnetConfig(layers_per_block=1, transformer_layers_per_block=(1, 2, 5), mid_block_type=None),
    "KOALA-1B": UnetConfig(layers_per_block=1, transformer_layers_per_block=(1, 2, 6)),
}


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_network_of_a_variant_is_built_from_its_keys_alone(variant: str) -> None:
    configs = ComponentConfigs(unet=VARIANTS[variant])
    header = header_of(configs)
    file = CheckpointFile(shapes=header, metadata={}, name="model", read_config=lambda _: None)
    assert SDXL.read_checkpoint(file) is not None
    stated = {name: value for name, value in msgspec.structs.asdict(VARIANTS[variant]).items() if value is not None}
    stated["mid_block_type"] = VARIANTS[variant].mid_block_type
    wanted = {tensor.diffusers: tensor.shape for tensor in network_tensors("unet", configs)}
    for fields in (layers_of_file(header), stated):
        network = build_network("unet", SHIPPED_CONFIGS, variant=fields)
        assert {key: tuple(tensor.shape) for key, tensor in network.state_dict().items()} == wanted
