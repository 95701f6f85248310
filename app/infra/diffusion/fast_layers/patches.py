"""The table of layers that are replaced in a network, and the function that applies it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from diffusers.models.attention import BasicTransformerBlock
from diffusers.models.attention_processor import Attention
from diffusers.models.resnet import ResnetBlock2D
from diffusers.models.upsampling import Upsample2D
from torch import nn

from .attention import PromptAttention, is_plain_attention
from .blocks import FastGroupNorm, FastResnetBlock, FastTransformerBlock, is_plain_resnet, is_plain_transformer
from .upcasting import UpcastConv2d, UpcastEmbedding, Upcaster, UpcastLinear
from .upsampling import PhaseUpsample, is_plain_upsample


@dataclass(frozen=True, slots=True)
class _Patch:
    replacement: type[nn.Module]
    """Subclass whose instances have the same attributes, or `Identity`."""
    applies: Callable[[Any], bool] = lambda _: True
    """Whether the replacement computes what the layer does; classes of diffusers have many variants."""
    upcasts: bool = False
    """Whether the patch is for weights that are kept in fewer bits than they are computed in."""


_PATCHES: dict[type[nn.Module], _Patch] = {
    nn.GroupNorm: _Patch(FastGroupNorm),
    nn.Dropout: _Patch(nn.Identity),
    Attention: _Patch(PromptAttention, is_plain_attention),
    BasicTransformerBlock: _Patch(FastTransformerBlock, is_plain_transformer),
    ResnetBlock2D: _Patch(FastResnetBlock, is_plain_resnet),
    Upsample2D: _Patch(PhaseUpsample, is_plain_upsample),
    nn.Linear: _Patch(UpcastLinear, upcasts=True),
    nn.Conv2d: _Patch(UpcastConv2d, upcasts=True),
    nn.Embedding: _Patch(UpcastEmbedding, upcasts=True),
}


def patch_layers(network: nn.Module, upcaster: Upcaster | None = None) -> None:
    """Replace the classes of a network's layers by faster ones.

    Layers are found by their exact class, so a layer that is a subclass already, because an adapter took its place, is left as
    it is. Apply adapters first: what they wrap is then patched inside of them.

    Args:
        network: of diffusers or transformers, for inference alone.
        upcaster: converts weights that are kept in 16 bits; None if they are kept in the dtype that they are computed in.
    """
    for layer in network.modules():
        patch = _PATCHES.get(type(layer))
        if patch is None or not patch.applies(layer) or (patch.upcasts and upcaster is None):
            continue
        changed: Any = layer
        changed.__class__ = patch.replacement
        if patch.upcasts:
            changed.upcaster = upcaster
