"""Layers without the work that changes nothing: checks at every call, divisions by one, sums that need not be new tensors.

The arithmetic is diffusers' and torch's own, bit for bit. A layer of a small model, or any layer on a fast GPU, takes less time
than the Python around it.
"""

from typing import Any

import torch
from diffusers.models.attention import BasicTransformerBlock
from torch import Tensor, nn


def make_lean(network: nn.Module) -> None:
    """Have a network of diffusers leave out what changes nothing."""
    for layer in network.modules():
        changed: Any = layer
        if type(layer) is nn.GroupNorm:
            changed.__class__ = _LeanGroupNorm
        elif type(layer) is nn.Dropout:
            changed.__class__ = nn.Identity
        elif type(layer) is BasicTransformerBlock and _is_plain(layer):
            changed.__class__ = _LeanTransformerBlock
        _divide_by_nothing(layer)


class _LeanGroupNorm(nn.GroupNorm):
    """torch checks at every call that a batch is large enough to train on."""

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 - torch's name
        return torch.group_norm(input, self.num_groups, self.weight, self.bias, self.eps)


class _LeanTransformerBlock(BasicTransformerBlock):
    """Attention to oneself, attention to the prompt, two linear layers; each beside a residual, after a layer norm."""

    def forward(
        self,
        hidden_states: Tensor,
        attention_mask: Tensor | None = None,
        encoder_hidden_states: Tensor | None = None,
        encoder_attention_mask: Tensor | None = None,
        timestep: Any = None,  # noqa: ARG002 - diffusers' signature
        cross_attention_kwargs: dict[str, Any] | None = None,
        class_labels: Any = None,  # noqa: ARG002
        added_cond_kwargs: Any = None,  # noqa: ARG002
    ) -> Tensor:
        """As diffusers' own with layer norms alone; what is added to is nobody else's tensor."""
        block: Any = self
        given = cross_attention_kwargs or {}
        hidden_states = block.attn1(block.norm1(hidden_states), attention_mask=attention_mask).add_(hidden_states)
        attended: Tensor = block.attn2(
            block.norm2(hidden_states), encoder_hidden_states, attention_mask=encoder_attention_mask, **given
        )
        hidden_states = attended.add_(hidden_states)
        return block.ff(block.norm3(hidden_states)).add_(hidden_states)


def _is_plain(block: BasicTransformerBlock) -> bool:
    """Whether it is SDXL's kind of block; diffusers' has many."""
    return (
        block.norm_type == "layer_norm"
        and block.pos_embed is None
        and block.attn2 is not None
        and not block.only_cross_attention
    )


class _Nothing:
    """Divides no number by 1.0."""

    def __rtruediv__(self, value: Tensor) -> Tensor:
        return value


def _divide_by_nothing(layer: nn.Module) -> None:
    """The output of every block of diffusers is divided by a scale, which is 1.0: a pass over all activations."""
    for name in ("output_scale_factor", "rescale_output_factor"):
        if getattr(layer, name, None) == 1.0:
            setattr(layer, name, _Nothing())
