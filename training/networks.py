"""The trained networks beside the autoencoder: a small SDXL UNet and its two text encoders."""

from collections.abc import Sequence
from typing import Any

import torch
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from torch import Tensor, nn
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer

TIME_DIM = 32
_HIDDEN_1, _HIDDEN_2 = 64, 96

UNET: dict[str, Any] = {
    "sample_size": 16,
    "in_channels": 4,
    "out_channels": 4,
    "block_out_channels": [32, 64, 128],
    "layers_per_block": 1,
    "down_block_types": ["DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"],
    "up_block_types": ["CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"],
    "transformer_layers_per_block": [1, 1, 1],
    "attention_head_dim": [1, 2, 4],
    "cross_attention_dim": _HIDDEN_1 + _HIDDEN_2,
    "use_linear_projection": True,
    "addition_embed_type": "text_time",
    "addition_time_embed_dim": TIME_DIM,
    "projection_class_embeddings_input_dim": 6 * TIME_DIM + _HIDDEN_2,
    "norm_num_groups": 8,
}


class Denoiser(nn.Module):
    """Text encoders and UNet, trained together."""

    def __init__(self, tokenizers: tuple[CLIPTokenizer, CLIPTokenizer]) -> None:
        super().__init__()
        self.unet: Any = UNet2DConditionModel(**UNET)
        self.unet.to(memory_format=torch.channels_last)
        self.text_encoder = CLIPTextModel(_text_config(_HIDDEN_1, tokenizers[0]))
        self.text_encoder_2 = CLIPTextModelWithProjection(_text_config(_HIDDEN_2, tokenizers[1]))
        for encoder in (self.text_encoder, self.text_encoder_2):
            embeddings: Any = encoder.get_input_embeddings()
            nn.init.normal_(embeddings.weight, std=0.4)

    def encode(self, ids: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        """Encode token ids (batch x 77, one tensor per encoder) to the UNet's sequence (batch x 77 x 160) and pooled vector."""
        one = self.text_encoder(ids[0], output_hidden_states=True)
        two = self.text_encoder_2(ids[1], output_hidden_states=True)
        return torch.cat([one.hidden_states[-2], two.hidden_states[-2]], dim=-1), two.text_embeds

    def forward(self, noisy: Tensor, timesteps: Tensor, sequence: Tensor, pooled: Tensor) -> Tensor:
        """Return the UNet's prediction for latents of batch x 4 x height x width."""
        height, width = noisy.shape[-2] * 8, noisy.shape[-1] * 8
        sizes = torch.tensor([height, width, 0, 0, height, width], dtype=torch.float32).expand(len(noisy), 6)
        conditions = {"text_embeds": pooled, "time_ids": sizes}
        return self.unet(noisy, timesteps, encoder_hidden_states=sequence, added_cond_kwargs=conditions).sample


def token_ids(tokenizers: tuple[CLIPTokenizer, CLIPTokenizer], captions: Sequence[str]) -> tuple[Tensor, Tensor]:
    """Tokenize captions to padded ids, batch x 77, for both encoders."""
    one, two = (
        tokenizer(list(captions), padding="max_length", max_length=77, truncation=True, return_tensors="pt").input_ids
        for tokenizer in tokenizers
    )
    return one, two


def _text_config(hidden: int, tokenizer: CLIPTokenizer) -> CLIPTextConfig:
    special: Any = tokenizer  # its own types allow lists of ids, which a tokenizer of one model never has
    begin, end, padding = special.bos_token_id, special.eos_token_id, special.pad_token_id
    return CLIPTextConfig(
        vocab_size=len(tokenizer),
        hidden_size=hidden,
        intermediate_size=hidden * 4,
        num_hidden_layers=2,
        num_attention_heads=hidden // 32,
        projection_dim=hidden,
        max_position_embeddings=77,
        hidden_act="quick_gelu" if hidden == _HIDDEN_1 else "gelu",
        bos_token_id=begin,
        eos_token_id=end,
        pad_token_id=padding,
    )
