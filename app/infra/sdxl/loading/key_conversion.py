"""Finds the weights of each component in a single file, as views of the file's tensors, in every layout that is known."""

from collections.abc import Mapping
from typing import Any, TypeVar

import msgspec
from torch import Tensor, nn

from ....domain.families.sdxl.configs import ComponentConfigs, TextEncoderConfig, UnetConfig, VaeConfig
from ....domain.families.sdxl.tensors.key_tensors import ComponentName, checkpoint_sources
from ....domain.families.sdxl.tensors.layouts import Source

StateDict = Mapping[str, Tensor]
_T = TypeVar("_T", bound=msgspec.Struct)


def component_weights(tensors: StateDict, component: ComponentName, network: nn.Module) -> StateDict:
    """Return the weights of a component under diffusers' names, as views of the given ones.

    Args:
        tensors: of the whole file, or of the component alone, by their names in the file.
        component: one of COMPONENTS.
        network: the network that they are for.
    """
    shapes = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    sources = checkpoint_sources(component, shapes, configs_of_network(component, network))
    level = "text_model." if any(name.startswith("text_model.") for name in network.state_dict()) else ""
    return {
        name if name.startswith("text_projection.") else f"{level}{name}": _view(tensors[source.key], source)
        for name, source in sources.items()
    }


def _view(tensor: Tensor, source: Source) -> Tensor:
    if source.first_row is not None:
        tensor = tensor[source.first_row : source.first_row + source.wanted[0]]
    if source.transposed:
        tensor = tensor.T
    return tensor if tensor.shape == source.wanted else tensor.view(source.wanted)


def configs_of_network(component: ComponentName, network: nn.Module) -> ComponentConfigs:
    """Return the configs of which one is the network's own."""
    config: Any = network.config
    stated = config.to_dict() if hasattr(config, "to_dict") else dict(config)
    if component == "unet":
        return ComponentConfigs(unet=_converted(stated, UnetConfig))
    if component == "vae":
        return ComponentConfigs(vae=_converted(stated, VaeConfig))
    if component == "text_encoder":
        return ComponentConfigs(text_encoder=_converted(stated, TextEncoderConfig))
    return ComponentConfigs(text_encoder_2=_converted(stated, TextEncoderConfig))


def _converted(stated: Mapping[str, Any], struct: type[_T]) -> _T:
    return msgspec.convert({key: value for key, value in stated.items() if key in struct.__struct_fields__}, struct)
