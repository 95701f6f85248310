"""VAEs in files of their own are told from their headers: both layouts, prefixes, other sizes, those of other models."""

import msgspec
import pytest

from litestar_diffusion.domain.families.reading import CheckpointFile, NotServable
from litestar_diffusion.domain.families.registry import read_vae
from litestar_diffusion.domain.families.sdxl.configs import ComponentConfigs, VaeConfig
from litestar_diffusion.domain.families.sdxl.family import SDXL
from litestar_diffusion.domain.families.sdxl.tensors.key_tensors import network_tensors
from litestar_diffusion.domain.families.sdxl.vae_file import vae_config

SMALL = msgspec.structs.replace(VaeConfig(), block_out_channels=(32, 64, 96, 128), layers_per_block=1)
Shapes = dict[str, tuple[int, ...]]


def shapes(layout: str, config: VaeConfig = VaeConfig(), prefix: str = "", *, encoder: bool = True) -> Shapes:  # noqa: B008
    tensors = network_tensors("vae", ComponentConfigs(vae=config))
    found = {prefix + getattr(tensor, layout): tensor.shape for tensor in tensors}
    kept = ("encoder.", "quant_conv.")
    return found if encoder else {key: shape for key, shape in found.items() if not key.startswith(kept)}


def file(found: Shapes, name: str = "fix", config: bytes | None = None) -> CheckpointFile:
    return CheckpointFile(shapes=found, metadata={}, name=name, read_config=lambda _: config)


@pytest.mark.parametrize("layout", ["original", "diffusers"])
@pytest.mark.parametrize("prefix", ["", "first_stage_model.", "vae."])
@pytest.mark.parametrize("config", [VaeConfig(), SMALL])
def test_a_vae_is_recognised_with_its_sizes(layout: str, prefix: str, config: VaeConfig) -> None:
    found = file(shapes(layout, config, prefix))
    reading = SDXL.read_vae(found)
    assert reading is not None
    assert reading.family == "sdxl"
    assert vae_config(found) == config


def test_a_config_beside_the_file_is_followed() -> None:
    stated = msgspec.structs.replace(SMALL, norm_num_groups=8)
    found = file(shapes("original", SMALL), config=msgspec.json.encode({**msgspec.structs.asdict(stated), "other": 1}))
    assert vae_config(found) == stated
    assert SDXL.read_vae(found) is not None
    with pytest.raises(NotServable, match=r"config\.json is wrong"):
        SDXL.read_vae(file(shapes("original"), config=b'{"layers_per_block": "two"}'))


def test_one_without_encoder_is_a_vae_and_says_so() -> None:
    reading = SDXL.read_vae(file(shapes("original", encoder=False)))
    assert reading is not None
    assert "without encoder" in " ".join(reading.evidence)


def test_a_name_of_stable_diffusion_1_brings_a_doubt() -> None:
    reading = SDXL.read_vae(file(shapes("original"), "vae-ft-mse-840000-ema-pruned"))
    assert reading is not None
    assert "colours may be wrong" in " ".join(reading.evidence)


def test_those_of_other_models_and_damaged_ones_are_refused_with_the_reason() -> None:
    flux = {**shapes("original"), "decoder.conv_in.weight": (512, 16, 3, 3)}
    with pytest.raises(NotServable, match=r"Flux.*SDXL's have 4"):
        read_vae(file(flux))
    lacking = {key: shape for key, shape in shapes("original").items() if key != "decoder.conv_out.bias"}
    with pytest.raises(NotServable, match=r"decoder\.conv_out\.bias"):
        read_vae(file(lacking))


def test_what_is_no_vae_is_none() -> None:
    assert SDXL.read_vae(file({"something.weight": (1,)})) is None
    assert SDXL.read_vae(file({**shapes("original"), "model.diffusion_model.out.2.weight": (4, 320, 3, 3)})) is None
    with pytest.raises(NotServable, match="this is no VAE, but a LoRA"):
        read_vae(file({"lora_unet_x.lora_down.weight": (4, 4)}))
