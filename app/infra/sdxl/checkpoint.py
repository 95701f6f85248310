"""Reads the weights of each component from a single file in the original SDXL key layout."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from diffusers.loaders.single_file_utils import (
    convert_ldm_clip_checkpoint,
    convert_ldm_unet_checkpoint,
    convert_ldm_vae_checkpoint,
    convert_open_clip_checkpoint,
)
from safetensors import safe_open
from torch import Tensor, nn

StateDict = Mapping[str, Tensor]

_PREFIXES = {
    "unet": "model.diffusion_model.",
    "vae": "first_stage_model.",
    "text_encoder": "conditioner.embedders.0.transformer.",
    "text_encoder_2": "conditioner.embedders.1.model.",
}


@contextmanager
def open_checkpoint(path: Path) -> Iterator[Callable[[str, nn.Module], StateDict]]:
    """A function that gives the weights of a component under diffusers' names.

    The tensors are views of the mapped file: copy them before the `with` block ends.
    """
    with safe_open(path, framework="pt", device="cpu") as file:
        keys = list(file.keys())

        def weights(component: str, network: nn.Module) -> StateDict:
            prefix = _PREFIXES[component]
            original = {key: file.get_tensor(key) for key in keys if key.startswith(prefix)}
            return _convert(component, original, network)

        yield weights


def _convert(component: str, original: dict[str, Tensor], network: nn.Module) -> StateDict:
    """Rename by diffusers' own functions, which know every corner of the layout."""
    config: Any = network.config
    if component == "unet":
        return convert_ldm_unet_checkpoint(original, dict(config))
    if component == "vae":
        return convert_ldm_vae_checkpoint(original, dict(config))
    if component == "text_encoder":
        return convert_ldm_clip_checkpoint(original)
    return convert_open_clip_checkpoint(network, original, prefix=_PREFIXES[component])
