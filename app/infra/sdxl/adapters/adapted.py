"""What the adapters of a request make of a model: the changes of its layers, and what does not fit it."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from ....domain.errors import FieldError, InvalidRequest
from ....domain.families.sdxl.adapter_files.algorithms import MAGNITUDES
from ....domain.families.sdxl.adapter_files.fit import changes as fits
from ....domain.families.sdxl.adapter_files.layers import ADAPTED, Layer, flat_of_all, layers_by_name
from ....domain.families.sdxl.tensors.key_tensors import ComponentName, join_problems
from ....domain.models.adapters import AdapterUse
from ...diffusion.side_paths.change import Change
from ...diffusion.side_paths.low_rank import LowRankLinear, joined
from ...diffusion.side_paths.side_path import Changes
from ..loading.components import SdxlModel
from ..loading.key_conversion import configs_of_network
from .adapters import LoadedLayer, SdxlAdapter
from .changes import Kept, changes_of


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, weakref_slot=True)
class Adapted:
    """The changes of a model's networks by a set of adapters, shared by all requests that run with the same set."""

    changes: Mapping[ComponentName, Changes]
    warnings: tuple[str, ...] = ()

    def of(self, component: ComponentName) -> Changes | None:
        """Return the changes of a network; None if nothing changes it."""
        return self.changes.get(component) or None


@dataclass(slots=True)
class _Building:
    """Changes by layer while the adapters are gone through."""

    changes: dict[ComponentName, dict[nn.Module, list[Change]]] = field(
        default_factory=dict[ComponentName, dict[nn.Module, list[Change]]]
    )
    warnings: list[str] = field(default_factory=list[str])

    def add(self, component: ComponentName, layer: nn.Module, change: Change) -> None:
        self.changes.setdefault(component, {}).setdefault(layer, []).append(change)


def adapt(model: SdxlModel, uses: Sequence[AdapterUse], adapters: Sequence[SdxlAdapter]) -> Adapted | None:
    """Find the layers that adapters change in a model; None without adapters. Engine thread only.

    Args:
        model: the model, whose weights stay as they are.
        uses: how strongly each adapter acts; one of weight 0 does not act.
        adapters: the adapters in the same order.

    Raises:
        InvalidRequest: an adapter is made for networks of other sizes.
    """
    if not uses:
        return None
    key = (tuple(uses), tuple(adapter.network.facts.id for adapter in adapters))
    known: Adapted | None = model.adapted.get(key)
    if known is None:
        known = model.adapted[key] = _adapted(model, uses, adapters)
    return known


def _adapted(model: SdxlModel, uses: Sequence[AdapterUse], adapters: Sequence[SdxlAdapter]) -> Adapted:
    building, kept = _Building(), Kept()
    for use, adapter in zip(uses, adapters, strict=True):
        _add(building, model, use, adapter, kept)
    changes: dict[ComponentName, Changes] = {
        component: _joined(layers, kept) for component, layers in building.changes.items()
    }
    return Adapted(changes=changes, warnings=tuple(building.warnings))


def acting(
    uses: Sequence[AdapterUse], adapters: Sequence[SdxlAdapter], component: ComponentName
) -> tuple[AdapterUse, ...]:
    """Return the uses of the adapters that change a network."""
    return tuple(
        use
        for use, adapter in zip(uses, adapters, strict=True)
        if weight_in(use, component) and any(layer.component == component for layer in adapter.layers)
    )


def weight_in(use: AdapterUse, component: ComponentName) -> float:
    """Return the factor of an adapter's change of a network."""
    return use.weight if component == "unet" else use.text_weight


def _add(building: _Building, model: SdxlModel, use: AdapterUse, adapter: SdxlAdapter, kept: Kept) -> None:
    found = list(_found(model, use, adapter))
    unfit = [loaded for loaded, places in found if not places]
    if len(unfit) == len(found):
        raise _made_for_other_networks(use, "it has none of the layers that the adapter changes")
    if unfit:
        named = join_problems([loaded.layer.shown for loaded in unfit])
        building.warnings.append(
            f"Adapter {use.name!r}: this model lacks {len(unfit)} of the {len(found)} layers that it changes. Left out: "
            f"{named}."
        )
    for loaded, places in found:
        component = loaded.component
        strength = weight_in(use, component)
        if not places or not strength:
            continue
        network: nn.Module = getattr(model, component)
        for place in places:
            layer = module_of(network, place.path)
            factors = _converted(adapter.factors(loaded), model.dtype)
            for change in changes_of(layer, place, loaded, factors, strength, kept):
                building.add(component, layer, change)


def _found(model: SdxlModel, use: AdapterUse, adapter: SdxlAdapter) -> Iterator[tuple[LoadedLayer, tuple[Layer, ...]]]:
    """Yield each layer of an adapter with its places in the model; none if the model lacks it."""
    names = {
        component: layers_by_name(component, configs_of_network(component, getattr(model, component)))
        for component in ADAPTED
    }
    for loaded in adapter.layers:
        places = names[loaded.component].get(loaded.layer.name, ())
        if places and not fits(loaded.layer, places):
            raise _made_for_other_networks(
                use,
                f"{loaded.layer.shown} has a weight of shape {list(flat_of_all(places))}, the adapter changes one of shape "
                f"{list(loaded.layer.form.changed)}",
            )
        yield loaded, places


def _made_for_other_networks(use: AdapterUse, why: str) -> InvalidRequest:
    text = f"{use.name!r} is made for a model of another build than this one: {why}. Use it with a model that it fits."
    return InvalidRequest([FieldError(field="adapters", message=text)])


def module_of(network: nn.Module, path: str) -> nn.Module:
    """Return a layer by its path; transformers 5 dropped the level `text_model.` in places."""
    try:
        return network.get_submodule(path)
    except AttributeError:
        return network.get_submodule(f"text_model.{path}")


def _converted(factors: Mapping[str, Tensor], dtype: torch.dtype) -> dict[str, Tensor]:
    """Convert factors to the dtype that the model computes in; lengths stay in float32."""
    return {role: tensor if role in MAGNITUDES else tensor.to(dtype) for role, tensor in factors.items()}


def _joined(layers: Mapping[nn.Module, Sequence[Change]], kept: Kept) -> dict[nn.Module, Sequence[Change]]:
    """Make one change of all plain LoRAs of a layer while there is room for copies of their factors."""
    return {layer: _joined_of(changes, kept) for layer, changes in layers.items()}


def _joined_of(changes: Sequence[Change], kept: Kept) -> Sequence[Change]:
    plain = [change for change in changes if isinstance(change, LowRankLinear)]
    if len(plain) < 2 or not kept.reserve(sum(change.nbytes for change in plain)):
        return changes
    return [joined(plain), *(change for change in changes if not isinstance(change, LowRankLinear))]
