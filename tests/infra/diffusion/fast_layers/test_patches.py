"""Replaced layers change no bit: kept keys and values, and no divisions by one, checks and copies."""

from typing import Any

import pytest
import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from diffusers.models.attention import BasicTransformerBlock
from diffusers.models.attention_processor import Attention
from diffusers.models.resnet import ResnetBlock2D
from diffusers.models.upsampling import Upsample2D
from torch import Tensor, nn

from litestar_diffusion.infra.diffusion.fast_layers.attention import PromptAttention, PromptKeyValues
from litestar_diffusion.infra.diffusion.fast_layers.blocks import FastGroupNorm, FastResnetBlock, FastTransformerBlock
from litestar_diffusion.infra.diffusion.fast_layers.patches import patch_layers
from litestar_diffusion.infra.diffusion.fast_layers.upcasting import Upcaster, UpcastLinear, upcast_weights
from litestar_diffusion.infra.diffusion.fast_layers.upsampling import PhaseUpsample
from litestar_diffusion.infra.sdxl.denoise import Forward
from litestar_diffusion.infra.sdxl.loading.components import SdxlModel
from litestar_diffusion.infra.sdxl.run import SdxlRun
from tests.infra.sdxl.test_parity import model_named, spec_named
from tests.infra.sdxl.test_render import request

ROWS, TOKENS = 3, 77


@pytest.fixture
def model() -> SdxlModel:
    return model_named("demo")


def output(unet: Any, model: SdxlModel, **options: Any) -> Tensor:
    """Rows x 4 x 16 x 16, the same noise and prompts at each call."""
    draw = torch.Generator().manual_seed(1)

    def drawn(*shape: int) -> Tensor:
        return torch.randn(shape, generator=draw)

    width = model.text_encoder_2.config.projection_dim
    with torch.inference_mode():
        return unet(
            drawn(ROWS, 4, 16, 16),
            torch.tensor([1.0, 500.0, 900.0]),
            encoder_hidden_states=drawn(ROWS, TOKENS, unet.config.cross_attention_dim),
            added_cond_kwargs={"text_embeds": drawn(ROWS, width), "time_ids": drawn(ROWS, 6)},
            return_dict=False,
            **options,
        )[0]


def test_the_output_is_diffusers_own_to_the_last_bit(model: SdxlModel) -> None:
    plain: Any = UNet2DConditionModel.from_config(model.unet.config)
    plain.load_state_dict(model.unet.state_dict())
    plain = plain.eval().to(memory_format=torch.channels_last)
    theirs = output(plain, model)
    key_values = PromptKeyValues()
    kept = [output(model.unet, model, cross_attention_kwargs={"prompt_key_values": key_values}) for _ in range(2)]
    assert all(torch.equal(theirs, found) for found in (*kept, output(model.unet, model)))


def test_the_decoder_is_diffusers_own_to_the_last_bit(model: SdxlModel) -> None:
    plain: Any = AutoencoderKL.from_config(model.vae.config)
    plain.load_state_dict(model.vae.state_dict())
    plain = plain.eval().to(memory_format=torch.channels_last)
    latents = torch.randn(1, 4, 16, 16, generator=torch.Generator().manual_seed(1))
    latents = latents.contiguous(memory_format=torch.channels_last)
    with torch.inference_mode():
        assert torch.equal(model.vae.decoder(latents), plain.decoder(latents))


def test_every_plain_layer_is_replaced(model: SdxlModel) -> None:
    """Classes are replaced by exact type: a new version of diffusers could leave layers as they are, and nothing would fail."""
    layers = [*model.unet.modules(), *model.vae.decoder.modules()]
    left = {type(layer) for layer in layers}
    assert not left & {BasicTransformerBlock, ResnetBlock2D, Upsample2D, nn.GroupNorm, nn.Dropout}
    assert {FastTransformerBlock, FastResnetBlock, FastGroupNorm, PhaseUpsample, PromptAttention} <= left
    assert Attention not in {type(layer) for layer in model.unet.modules()}


@pytest.mark.parametrize(
    "layer",
    [
        ResnetBlock2D(in_channels=32, output_scale_factor=2.0),
        ResnetBlock2D(in_channels=32, down=True),
        ResnetBlock2D(in_channels=32, time_embedding_norm="scale_shift"),
        ResnetBlock2D(in_channels=32, skip_time_act=True),
        Upsample2D(32, use_conv=False),
        Attention(32, residual_connection=True),
        Attention(32, norm_num_groups=8),
        Attention(32, rescale_output_factor=2.0),
        Attention(32, scale_qk=False),
        Attention(32, heads=4, kv_heads=2),
        BasicTransformerBlock(32, 1, 32, num_embeds_ada_norm=4, norm_type="ada_norm"),
        BasicTransformerBlock(32, 1, 32),
    ],
)
def test_layers_that_compute_something_else_are_left_as_they_are(layer: nn.Module) -> None:
    before = type(layer)
    patch_layers(layer)
    assert type(layer) is before


def test_layers_of_adapters_are_left_as_they_are_and_those_inside_are_replaced() -> None:
    class Adapter(nn.Linear):
        def __init__(self) -> None:
            super().__init__(4, 4)
            self.wrapped = nn.Linear(4, 4)

    network = nn.Sequential(Adapter(), nn.Linear(4, 4))
    patch_layers(network, Upcaster())
    assert [type(layer) for layer in network] == [Adapter, UpcastLinear]
    assert type(network[0].wrapped) is UpcastLinear
    assert upcast_weights(network) == {"0.wrapped.weight", "1.weight"}


@pytest.mark.parametrize(("split", "times"), [(False, 1), (True, 6)])
def test_keys_and_values_of_a_prompt_are_computed_once_unless_memory_is_short(
    model: SdxlModel, split: bool, times: int
) -> None:
    layer = next(block.attn2 for block in model.unet.modules() if hasattr(block, "attn2"))
    calls: list[object] = []
    hook = layer.to_k.register_forward_hook(lambda *_: calls.append(None))
    denoises = SdxlRun(model, request(spec_named("demo"), guidance_scale=5.0, num_inference_steps=3)).denoises
    forward = Forward(model, denoises, split_guidance=split)
    try:
        with torch.inference_mode():
            for _ in range(3):
                denoises[0].advance(forward.predictions()[0])
    finally:
        hook.remove()
    assert len(calls) == times


def test_prompts_of_different_rows_stay_apart(model: SdxlModel) -> None:
    first, second = PromptKeyValues(), PromptKeyValues()
    layer = next(block.attn2 for block in model.unet.modules() if hasattr(block, "attn2"))
    one, other = torch.ones(1, TOKENS, 160), torch.zeros(1, TOKENS, 160)
    with torch.inference_mode():
        assert not torch.equal(first.of(layer, one)[0], second.of(layer, other)[0])
        assert first.of(layer, one)[0] is first.of(layer, one)[0]
