"""Recognises a VAE in a file of its own, in both layouts, with or without a prefix before its names."""

import re
from collections.abc import Iterator
from typing import Any

import msgspec

from ...models.vaes import VaeReading
from ..json_config import decode_config
from ..reading import CheckpointFile, NotServable, Shapes
from .configs import ComponentConfigs, VaeConfig
from .tensors.key_tensors import component_file_problems, join_problems
from .tensors.layouts import PREFIXES

NAME = "sdxl"
_OUT = "decoder.conv_in.weight"
_PREFIX = PREFIXES["vae"][0]
_DECODER = re.compile(r"decoder\.(?:up\.(\d+)\.block\.(\d+)|up_blocks\.(\d+)\.resnets\.(\d+))\.conv1\.weight")
_OTHERS = {16: "Flux, SD 3 or another model with latents of 16 numbers", 32: "a model with latents of 32 numbers"}
_OLD_NAMES = ("vae-ft-mse", "vae-ft-ema", "kl-f8", "nai", "sd15", "sd1.5", "sd-1-5")
"""Parts of the names of well-known VAEs of Stable Diffusion 1.x, whose tensors have the same names and sizes."""


def read_vae(file: CheckpointFile) -> VaeReading | None:
    """Recognise the file of a VAE; see `Family.read_vae`."""
    shapes = checkpoint_shapes(file.shapes)
    latent = shapes.get(f"{_PREFIX}{_OUT}")
    if latent is None or any(not key.startswith(_PREFIX) for key in shapes):
        return None
    if len(latent) < 2 or latent[1] != VaeConfig().latent_channels:
        channels = latent[1] if len(latent) > 1 else 0
        raise NotServable(f"this is a VAE of {_OTHERS.get(channels, f'latents of {channels} numbers')}; SDXL's have 4.")
    config = vae_config(file)
    if problems := [*config.problems(), *_problems(file, shapes, config)]:
        raise NotServable(f"this VAE cannot be used: {join_problems(problems)}.")
    return VaeReading(family=NAME, evidence=tuple(_evidence(file, shapes, config)))


def checkpoint_shapes(shapes: Shapes) -> dict[str, tuple[int, ...]]:
    """Return the shapes of a VAE's file under the names that they have in a checkpoint."""
    return {checkpoint_name(key): shape for key, shape in shapes.items()}


def checkpoint_name(key: str) -> str:
    """Return the name in a checkpoint of a tensor in a VAE's file."""
    bare = next((key.removeprefix(prefix) for prefix in PREFIXES["vae"] if key.startswith(prefix)), key)
    known = bare.startswith(("encoder.", "decoder.", "quant_conv.", "post_quant_conv."))
    return f"{_PREFIX}{bare}" if known else key


def vae_config(file: CheckpointFile) -> VaeConfig:
    """Return the config beside the file; without one, SDXL's own with the widths and layers that its tensors tell.

    Raises:
        NotServable: the config beside it cannot be read.
    """
    raw = file.read_config("config.json")
    if raw is None:
        return msgspec.structs.replace(VaeConfig(), **_of_tensors(file.shapes))
    stated = {
        key: value for key, value in decode_config("config.json", raw).items() if key in VaeConfig.__struct_fields__
    }
    try:
        return msgspec.convert(stated, VaeConfig)
    except msgspec.ValidationError as error:
        raise NotServable(f"its config.json is wrong: {error}.") from error


def _of_tensors(shapes: Shapes) -> dict[str, Any]:
    """Read the widths of the blocks, the smallest first, and the layers of each."""
    widths: dict[int, int] = {}
    layers: set[int] = set()
    for key, shape in shapes.items():
        if (found := _DECODER.search(key)) is None:
            continue
        original, layer, diffusers, resnet = found.groups()
        block = int(original) if original is not None else -1 - int(diffusers)
        widths[block] = shape[0]
        layers.add(int(layer if layer is not None else resnet))
    ordered = tuple(widths[block] for block in sorted(widths))
    return {"block_out_channels": ordered, "layers_per_block": max(len(layers) - 1, 1)} if ordered else {}


def _problems(file: CheckpointFile, shapes: Shapes, config: VaeConfig) -> list[str]:
    odd = {checkpoint_name(key): dtype for key, dtype in file.odd.items()}
    return component_file_problems("vae", shapes, ComponentConfigs(vae=config), odd)


def _evidence(file: CheckpointFile, shapes: Shapes, config: VaeConfig) -> Iterator[str]:
    yield f"a VAE of latents with {config.latent_channels} numbers, with blocks {list(config.block_out_channels)} wide"
    if not any(key.startswith(f"{_PREFIX}encoder.") for key in shapes):
        yield "without encoder: it turns latents to pictures, and no picture to latents"
    if any(part in file.name.lower() for part in _OLD_NAMES):
        yield f"{file.name!r} sounds like a VAE of Stable Diffusion 1.x, which has the same tensors: colours may be wrong"
