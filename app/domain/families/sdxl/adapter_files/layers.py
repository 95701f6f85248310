"""The layers of SDXL's networks that an adapter can change, by every name that trainers give them.

Names are derived from the tables of tensors: diffusers' and the original one, with full stops or, as kohya's sd-scripts write
them, with underscores. So no name is taken apart by rules, and none can mean two layers.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache

import msgspec

from ..configs import ComponentConfigs
from ..tensors.key_tensors import ComponentName, network_tensors
from ..tensors.tensor import Tensor

ADAPTED: tuple[ComponentName, ...] = ("unet", "text_encoder", "text_encoder_2")
"""Components that adapters change."""
_FEWER_LAYERS = 1
"""Layers of each block in the variants of SDXL that have fewer, such as KOALA; the original names count them through."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer:
    """A layer of a network that has a weight."""

    path: str
    """Name in diffusers, without the level `text_model.`."""
    shape: tuple[int, ...]
    """Shape of its weight."""
    first_row: int | None = None
    """Row at which it begins in a layer of the original network that holds queries, keys and values together."""


LayersByName = Mapping[str, tuple[Layer, ...]]
"""A layer has many names; a name means one layer, or the three that a layer of the original network holds together."""


@lru_cache(maxsize=32)
def layers_by_name(component: ComponentName, configs: ComponentConfigs) -> LayersByName:
    """Return the layers of a network by all of their names."""
    found: dict[str, tuple[Layer, ...]] = {}
    for tensor in network_tensors(component, configs):
        path = tensor.diffusers.removesuffix(".weight")
        if path == tensor.diffusers:
            continue
        whole = Layer(path=path, shape=tensor.shape)
        for name in _spellings(component, path):
            found[name] = (whole,)
        for name in _spellings_of_original(component, tensor):
            part = Layer(path=path, shape=tensor.shape, first_row=tensor.first_row)
            found[name] = (*found.get(name, ()), part) if tensor.first_row is not None else (whole,)
    return found


@lru_cache(maxsize=4)
def known_layers(component: ComponentName) -> tuple[LayersByName, ...]:
    """Return the layers of SDXL itself, then those of its variants with fewer layers in each block."""
    base = ComponentConfigs()
    fewer = msgspec.structs.replace(base.unet, layers_per_block=_FEWER_LAYERS)
    variants = (base, msgspec.structs.replace(base, unet=fewer)) if component == "unet" else (base,)
    return tuple(layers_by_name(component, configs) for configs in variants)


def flat(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Return a weight's shape as that of a matrix: outputs, and the product of all other sides; vectors stay vectors."""
    if len(shape) < 2:
        return shape
    inputs = 1
    for side in shape[1:]:
        inputs *= side
    return shape[0], inputs


def flat_of_all(layers: tuple[Layer, ...]) -> tuple[int, ...]:
    """Return the shape, as a matrix, of the weight that holds those of all the layers of a name, one after the other."""
    first = flat(layers[0].shape)
    return (first[0] * len(layers), *first[1:])


def _spellings(component: ComponentName, path: str) -> Iterator[str]:
    levels = ("",) if component == "unet" else ("", "text_model.")
    for level in levels:
        yield f"{level}{path}"
        yield f"{level}{path}".replace(".", "_")


def _spellings_of_original(component: ComponentName, tensor: Tensor) -> Iterator[str]:
    """Yield the names in the original layout, which the first text encoder does not have."""
    if component == "text_encoder" or not tensor.original.endswith(("weight", "text_projection")):
        return
    name = tensor.original.removesuffix(".weight").removesuffix("_weight")
    yield name
    yield name.replace(".", "_")
