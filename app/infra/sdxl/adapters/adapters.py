"""Adapters of SDXL models in memory: the factors of all their layers in one arena, and the numbers that scale them."""

import math
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ....domain.families.reading import CheckpointFile, NotServable
from ....domain.families.sdxl.adapter_files.algorithms import MAGNITUDES
from ....domain.families.sdxl.adapter_files.contents import AdapterLayer, Contents, read_contents
from ....domain.families.sdxl.adapter_files.stated_alphas import StatedAlphas, read_stated_alphas
from ....domain.families.sdxl.tensors.key_tensors import ComponentName
from ....domain.models.adapters import AdapterSpec
from ....domain.models.components import Component, ComponentId, LoadProgress, OnLoad
from ...diffusion.load_context import Loading
from ...weights.arena import Layout, lay_out
from ...weights.component_store import Network
from ...weights.config_files import reader_beside
from ...weights.parallel_copy import ParallelCopier
from ...weights.safetensors_file import SafetensorsFile, find_stored
from ...weights.twin_store import Store

_ROLE = "adapter"
_NUMBERS = ("alpha", "scalar")
"""Roles of tensors that are one number each."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadedLayer:
    """The change of one layer in memory."""

    component: ComponentName
    layer: AdapterLayer
    scale: float
    """Factor of the change: alpha / rank, and what else the file states."""
    parameters: Mapping[str, str]
    """Names of the arena's tensors by their roles."""


@dataclass(slots=True, kw_only=True)
class SdxlAdapter:
    """An adapter in memory. Its tensors are those of the device that it is on."""

    network: Network
    components: tuple[Component, ...]

    @property
    def layers(self) -> tuple[LoadedLayer, ...]:
        """What it changes."""
        return self.network.config

    def factors(self, layer: LoadedLayer) -> dict[str, Tensor]:
        """Return the tensors of a layer by their roles."""
        return {role: getattr(self.network.module, name) for role, name in layer.parameters.items()}


def load_adapter(spec: AdapterSpec, dtype: torch.dtype, on_load: OnLoad, loading: Loading) -> SdxlAdapter:
    """Read an adapter into host memory; equal content that is in memory already is shared.

    Args:
        spec: the catalogue entry.
        dtype: dtype of its factors in memory.
        on_load: called with the bytes that have been read.
        loading: parts that the models of one engine share.

    Raises:
        NotServable: it is no adapter that can be used.
        BrokenFile: the file is broken.
        OSError: the file cannot be read.
    """
    key = (str(spec.path), spec.version, _ROLE, str(dtype))
    network = loading.store.remembered(key)
    if network is None:
        network = loading.store.add(key, _read(spec, dtype, on_load, loading.store))
    return SdxlAdapter(network=network, components=(network.facts,))


def _read(spec: AdapterSpec, dtype: torch.dtype, on_load: OnLoad, store: Store) -> Network:
    with closing(SafetensorsFile(spec.path)) as file:
        contents, stated = _contents(spec, file)
        layers = tuple(_layers(contents, stated, file))
        tensors = file.tensors()
        sources = {name: tensors[layer.layer.keys[role]] for layer in layers for role, name in layer.parameters.items()}
        layout = _layout(layers, sources, dtype)
        network = _network(layers, layout, store, dtype)
        _copy(file, sources, network, on_load)
    return network


def _contents(spec: AdapterSpec, file: SafetensorsFile) -> tuple[Contents, StatedAlphas]:
    header, read_config = file.header, reader_beside(spec.path)
    facts = CheckpointFile(
        shapes=header.shapes, metadata=header.metadata, name=spec.path.stem, read_config=read_config, odd=header.odd
    )
    contents = read_contents(facts)
    if contents is None:
        raise NotServable("it holds no adapter any more. The file was replaced; list the adapters again.")
    return contents, read_stated_alphas(header.metadata, read_config)


def _layers(contents: Contents, stated: StatedAlphas, file: SafetensorsFile) -> Iterator[LoadedLayer]:
    for index, layer in enumerate(contents.layers):
        tensors = [role for role in layer.keys if role not in _NUMBERS]
        yield LoadedLayer(
            component=layer.component,
            layer=layer,
            scale=_scale(layer, stated, file),
            parameters={role: f"{index}_{role}" for role in tensors},
        )


def _scale(layer: AdapterLayer, stated: StatedAlphas, file: SafetensorsFile) -> float:
    """Compute alpha / rank, or alpha over the root of the rank; 1 for what has no rank."""
    scale = _number(layer, "scalar", file, 1.0)
    rank = layer.form.rank
    if rank is None and layer.form.algorithm == "lokr":
        rank = stated.rank(layer.component, layer.name)
    if rank is None:
        return scale
    alpha = stated.alpha(layer.component, layer.name)
    alpha = _number(layer, "alpha", file, rank if alpha is None else alpha)
    return scale * alpha / (math.sqrt(rank) if stated.rank_stabilised(layer.component) else rank)


def _number(layer: AdapterLayer, role: str, file: SafetensorsFile, default: float) -> float:
    key = layer.keys.get(role)
    if key is None:
        return default
    tensor = file.tensors()[key]
    if tensor.numel() != 1:
        raise NotServable(f"{key} must be one number, and has shape {list(tensor.shape)}. Download the file again.")
    number = float(find_stored([file], tensor).read())
    if not math.isfinite(number):
        raise NotServable(f"{key} is {number}. The file is damaged; download it again.")
    return number


def _layout(layers: tuple[LoadedLayer, ...], sources: Mapping[str, Tensor], dtype: torch.dtype) -> Layout:
    # Lengths are few numbers, of which quotients are taken.
    exact = {layer.parameters[role] for layer in layers for role in MAGNITUDES if role in layer.parameters}
    return lay_out(sources.items(), lambda name: torch.float32 if name in exact else dtype)


def _network(layers: tuple[LoadedLayer, ...], layout: Layout, store: Store, dtype: torch.dtype) -> Network:
    arena = store.arena(layout.nbytes)
    dtype_name = str(dtype).removeprefix("torch.")
    facts = Component(id=ComponentId(""), name=_ROLE, nbytes=arena.nbytes, dtype=dtype_name)
    config: Any = layers
    network = Network(facts, nn.Module(), arena, layout, {}, config)
    network.point_to(arena.buffer)
    return network


def _copy(file: SafetensorsFile, sources: Mapping[str, Tensor], network: Network, on_load: OnLoad) -> None:
    done, total = 0, network.layout.nbytes

    def report(nbytes: int) -> None:
        nonlocal done
        done += nbytes
        on_load(LoadProgress(phase="read", done_nbytes=done, total_nbytes=total))

    copier = ParallelCopier()
    try:
        slots, buffer = network.layout.slots, network.arena.buffer
        copier.start((slot.view(buffer), find_stored([file], sources[name])) for name, slot in slots.items()).finish(
            report
        )
    finally:
        copier.stop()
