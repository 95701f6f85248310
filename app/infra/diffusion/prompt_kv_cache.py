"""The UNet's attention: diffusers' arithmetic, with the keys and values of a prompt computed once instead of at every step."""

from typing import Any

from diffusers.models.attention import BasicTransformerBlock
from diffusers.models.attention_processor import Attention
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention


class PromptStates:
    """Keys and values of some rows' prompts at each layer, from the first time that they are asked for."""

    def __init__(self) -> None:
        self._found: dict[nn.Module, tuple[Tensor, Tensor]] = {}

    def of(self, layer: Any, sequence: Tensor) -> tuple[Tensor, Tensor]:
        """Those of a layer; each rows x heads x tokens x width of a head.

        Args:
            layer: of the UNet's cross-attention.
            sequence: rows x tokens x width, the same at every call.
        """
        if layer not in self._found:
            self._found[layer] = _keys_and_values(layer, sequence)
        return self._found[layer]

    @property
    def nbytes(self) -> int:
        """Of all that is kept."""
        return sum(tensor.nbytes for pair in self._found.values() for tensor in pair)


class _SdxlAttention(Attention):
    """Those layers of SDXL's transformer blocks have no masks, norms or residuals.

    diffusers inspects the signature of a layer's processor at every call, which takes longer than a small layer does.
    """

    def forward(
        self,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor | None = None,
        attention_mask: Tensor | None = None,
        prompt_states: PromptStates | None = None,
        **_: Any,
    ) -> Tensor:
        """Attend to oneself, or to a prompt: `softmax(q k^T / sqrt(width of a head)) v`, and project the outcome.

        The names are those that diffusers calls by.

        Args:
            hidden_states: rows x positions x width.
            encoder_hidden_states: rows x tokens x width, in cross-attention.
            attention_mask: always None.
            prompt_states: where to keep what comes of `encoder_hidden_states`.
            _: what other processors of diffusers would take.
        """
        layer: Any = self
        query = _heads(layer.to_q(hidden_states), layer.heads)
        if encoder_hidden_states is None:
            key, value = _keys_and_values(self, hidden_states)
        elif prompt_states is None:
            key, value = _keys_and_values(self, encoder_hidden_states)
        else:
            key, value = prompt_states.of(self, encoder_hidden_states)
        attended = scaled_dot_product_attention(query, key, value, attn_mask=attention_mask)
        return layer.to_out[0](attended.transpose(1, 2).flatten(2))


def attend_by_prompt_states(unet: nn.Module) -> None:
    """Have the transformer blocks of a UNet keep prompts; call it with `cross_attention_kwargs={"prompt_states": ...}`."""
    for block in unet.modules():
        if isinstance(block, BasicTransformerBlock):
            for layer in (block.attn1, block.attn2):
                if type(layer) is Attention:
                    changed: Any = layer
                    changed.__class__ = _SdxlAttention


def _keys_and_values(layer: Any, sequence: Tensor) -> tuple[Tensor, Tensor]:
    return _heads(layer.to_k(sequence), layer.heads), _heads(layer.to_v(sequence), layer.heads)


def _heads(tensor: Tensor, heads: int) -> Tensor:
    """From rows x positions x width to rows x heads x positions x width of a head."""
    return tensor.unflatten(2, (heads, -1)).transpose(1, 2)
