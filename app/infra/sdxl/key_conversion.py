"""Reads the weights of each component from a single file in the original SDXL key layout."""

from collections.abc import Mapping
from typing import Any

from diffusers.loaders.single_file_utils import (
    convert_ldm_clip_checkpoint,
    convert_ldm_unet_checkpoint,
    convert_ldm_vae_checkpoint,
    convert_open_clip_checkpoint,
)
from torch import Tensor, nn

from ...domain.families.sdxl.key_tensors import PREFIXES, ComponentName
from ..diffusion.skip_torch_functions import COPIES, Skipping

StateDict = Mapping[str, Tensor]


def component_weights(tensors: StateDict, component: ComponentName, network: nn.Module) -> StateDict:
    """Return the weights of a component under diffusers' names, as views of the given ones if possible."""
    prefix = PREFIXES[component]
    original = {key: value for key, value in tensors.items() if key.startswith(prefix)}
    with Skipping(COPIES):
        return _convert(component, original, network)


def _convert(component: ComponentName, original: dict[str, Tensor], network: nn.Module) -> StateDict:
    """Rename by diffusers' own functions, which know every corner of the layout."""
    config: Any = network.config
    if component == "unet":
        return convert_ldm_unet_checkpoint(original, dict(config))
    if component == "vae":
        return convert_ldm_vae_checkpoint(original, dict(config))
    if component == "text_encoder":
        return convert_ldm_clip_checkpoint(original)
    return convert_open_clip_checkpoint(network, original, prefix=PREFIXES[component])
