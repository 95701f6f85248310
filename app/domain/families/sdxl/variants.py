"""Variants of SDXL that a single file tells: SSD-1B, Vega and KOALA by their layers, those for inpainting by channels."""

from typing import Any

import msgspec

from ..reading import Shapes
from .configs import INPAINTING_CHANNELS, ComponentConfigs, UnetConfig
from .tensors.layouts import PREFIXES

_PREFIX = "model.diffusion_model."
_FIRST_CONVOLUTIONS = (
    f"{_PREFIX}input_blocks.0.0.weight",
    *(f"{prefix}conv_in.weight" for prefix in PREFIXES["unet"]),
)
"""First layer of the UNet, in each layout."""
_BLOCKS = 3
_MAX_PLACES = 32
_MAX_DEPTH = 64


def layers_of_file(shapes: Shapes) -> dict[str, Any]:
    """Return the fields of `UnetConfig` that count the layers of the UNet in a single file; none for one of another build.

    Whether all else is SDXL's own is not looked at; a file that does not fit the config is refused for that.
    """
    down, up = _depths("input_blocks", shapes), _depths("output_blocks", shapes)
    places = len(up) // _BLOCKS
    if places < 2 or len(up) != _BLOCKS * places or len(down) != _BLOCKS * places:
        return {}
    # One place before the first block; one after each block but the last one for the smaller size.
    each = (down[1 + block * places :][: places - 1] for block in range(_BLOCKS))
    back = (up[block * places :][:places] for block in range(_BLOCKS))
    return {
        "layers_per_block": places - 1,
        "transformer_layers_per_block": tuple(map(_joined, each)),
        "reverse_transformer_layers_per_block": tuple(map(_joined, back)),
        "mid_block_type": _middle(shapes),
    }


def channels_of_file(shapes: Shapes) -> dict[str, Any]:
    """Return `in_channels` of the UNet in a single file if it is made for inpainting; else nothing."""
    shape = next((shapes[name] for name in _FIRST_CONVOLUTIONS if name in shapes), ())
    return {"in_channels": INPAINTING_CHANNELS} if shape[1:2] == (INPAINTING_CHANNELS,) else {}


def of_file(configs: ComponentConfigs, shapes: Shapes) -> ComponentConfigs:
    """Return configs of a file with the channels that its tensors tell and, if none are beside it, the layers."""
    fields = layers_of_file(shapes) if configs.unet == UnetConfig() else {}
    unet = msgspec.structs.replace(configs.unet, **fields, **channels_of_file(shapes))
    return msgspec.structs.replace(configs, unet=unet)


def _middle(shapes: Shapes) -> str | None:
    if f"{_PREFIX}middle_block.1.norm.weight" in shapes:
        return "UNetMidBlock2DCrossAttn"
    return "UNetMidBlock2D" if f"{_PREFIX}middle_block.0.in_layers.0.weight" in shapes else None


def _depths(side: str, shapes: Shapes) -> list[int]:
    """Count the transformer layers of each place on one side of the UNet; 0 for a place without attention."""
    places: list[int] = []
    for place in range(_MAX_PLACES):
        at = f"{_PREFIX}{side}.{place}"
        first = ("0.weight", "0.in_layers.0.weight", "0.op.weight")
        if not any(f"{at}.{name}" in shapes for name in first):
            break
        norm = f"{at}.1.transformer_blocks.{{}}.norm1.weight"
        places.append(next(depth for depth in range(_MAX_DEPTH) if norm.format(depth) not in shapes))
    return places


def _joined(depths: list[int]) -> int | tuple[int, ...]:
    """Return one number for layers that are alike; 1, which nothing reads, for layers without attention."""
    return max(depths[0], 1) if len(set(depths)) == 1 else tuple(max(depth, 1) for depth in depths)
