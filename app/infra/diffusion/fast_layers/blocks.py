"""Blocks of diffusers without the work that changes nothing: checks at every call, divisions by one, sums in new tensors.

The results are diffusers' own to the last bit. A layer of a small model, or any layer on a fast GPU, takes less time than the
Python around it.
"""

from typing import Any

import torch
from diffusers.models.attention import BasicTransformerBlock
from diffusers.models.resnet import ResnetBlock2D
from torch import Tensor, nn


class FastGroupNorm(nn.GroupNorm):
    """Group normalization without torch's check, at every call, that the batch is large enough for training."""

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 - torch's name
        """Normalize rows x channels x ...; the name is torch's."""
        return torch.group_norm(input, self.num_groups, self.weight, self.bias, self.eps)


class FastResnetBlock(ResnetBlock2D):
    """Two convolutions beside a residual, without the division of the sum by a scale of 1.0."""

    def forward(self, input_tensor: Tensor, temb: Tensor | None, *_: Any, **__: Any) -> Tensor:
        """Add what the convolutions make of an image and its timestep to the image.

        Args:
            input_tensor: rows x channels x height x width.
            temb: embedding of the timestep, rows x width; None in an autoencoder.
        """
        block: Any = self
        hidden: Tensor = block.conv1(block.nonlinearity(block.norm1(input_tensor)))
        if block.time_emb_proj is not None:
            hidden = hidden + block.time_emb_proj(block.nonlinearity(temb))[:, :, None, None]
        hidden = block.conv2(block.nonlinearity(block.norm2(hidden)))
        residual = input_tensor if block.conv_shortcut is None else block.conv_shortcut(input_tensor)
        # Not in place: the sum has the memory format of its first operand, and later sums are rounded in that format's order.
        return residual + hidden


def is_plain_resnet(block: ResnetBlock2D) -> bool:
    """Tell whether a block keeps the image's size, and adds the timestep before the second norm or takes none."""
    knows_none = block.time_embedding_norm == "group" and block.time_emb_proj is None
    return (
        block.upsample is None
        and block.downsample is None
        and (block.time_embedding_norm == "default" or knows_none)
        and not block.skip_time_act
        and block.output_scale_factor == 1.0
    )


class FastTransformerBlock(BasicTransformerBlock):
    """Self-attention, attention to the prompt, two linear layers; each after a layer norm, beside a residual."""

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
        """Compute diffusers' block with layer norms; residuals are added in place, to tensors made in this block."""
        block: Any = self
        given = cross_attention_kwargs or {}
        hidden_states = block.attn1(block.norm1(hidden_states), attention_mask=attention_mask).add_(hidden_states)
        attended: Tensor = block.attn2(
            block.norm2(hidden_states), encoder_hidden_states, attention_mask=encoder_attention_mask, **given
        )
        hidden_states = attended.add_(hidden_states)
        return block.ff(block.norm3(hidden_states)).add_(hidden_states)


def is_plain_transformer(block: BasicTransformerBlock) -> bool:
    """Tell whether a block has layer norms without conditions, no positions, and attends to itself and to a prompt."""
    return (
        block.norm_type == "layer_norm"
        and block.pos_embed is None
        and block.attn2 is not None
        and not block.only_cross_attention
    )
