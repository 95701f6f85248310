"""Attention with diffusers' arithmetic, and with the keys and values of a prompt computed once instead of at every step."""

from typing import Any

from diffusers.models.attention_processor import Attention, AttnProcessor2_0
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention


class PromptKeyValues:
    """Keys and values of the prompts of some rows at each layer, computed at their first use."""

    def __init__(self) -> None:
        self._computed: dict[nn.Module, tuple[Tensor, Tensor]] = {}

    def of(self, layer: Any, sequence: Tensor) -> tuple[Tensor, Tensor]:
        """Return keys and values at a layer, each rows x heads x tokens x width of a head.

        Args:
            layer: of the cross-attention.
            sequence: rows x tokens x width, the same at every call.
        """
        if layer not in self._computed:
            self._computed[layer] = _keys_and_values(layer, sequence)
        return self._computed[layer]

    @property
    def nbytes(self) -> int:
        """Size of all keys and values."""
        return sum(tensor.nbytes for pair in self._computed.values() for tensor in pair)


class PromptAttention(Attention):
    """Attention of a transformer block, without masks, norms or a residual.

    diffusers inspects the signature of a layer's processor at every call, which takes longer than a small layer does.
    """

    def forward(
        self,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor | None = None,
        attention_mask: Tensor | None = None,
        prompt_key_values: PromptKeyValues | None = None,
        **_: Any,
    ) -> Tensor:
        """Attend to oneself or to a prompt: `softmax(q k^T / sqrt(width of a head)) v`, then project.

        The names are those that diffusers calls by.

        Args:
            hidden_states: rows x positions x width.
            encoder_hidden_states: rows x tokens x width, in cross-attention.
            attention_mask: always None.
            prompt_key_values: store of what is computed from `encoder_hidden_states`; None computes it at each call.
            _: options of other processors of diffusers.
        """
        layer: Any = self
        query = _heads(layer.to_q(hidden_states), layer.heads)
        if encoder_hidden_states is None:
            key, value = _keys_and_values(self, hidden_states)
        elif prompt_key_values is None:
            key, value = _keys_and_values(self, encoder_hidden_states)
        else:
            key, value = prompt_key_values.of(self, encoder_hidden_states)
        attended = scaled_dot_product_attention(query, key, value, attn_mask=attention_mask)
        return layer.to_out[0](attended.transpose(1, 2).flatten(2))


def is_plain_attention(layer: Attention) -> bool:
    """Tell whether a layer is attention alone: no norm, residual, added projection or scale of its own."""
    unused = ("group_norm", "spatial_norm", "norm_q", "norm_k", "norm_cross", "added_kv_proj_dim")
    return (
        isinstance(layer.processor, AttnProcessor2_0)
        and all(getattr(layer, name) is None for name in unused)
        and layer.inner_kv_dim == layer.inner_dim
        and layer.to_out is not None
        and layer.rescale_output_factor == 1.0
        and not layer.residual_connection
    )


def _keys_and_values(layer: Any, sequence: Tensor) -> tuple[Tensor, Tensor]:
    return _heads(layer.to_k(sequence), layer.heads), _heads(layer.to_v(sequence), layer.heads)


def _heads(tensor: Tensor, heads: int) -> Tensor:
    """Reshape rows x positions x width to rows x heads x positions x width of a head."""
    return tensor.unflatten(2, (heads, -1)).transpose(1, 2)
