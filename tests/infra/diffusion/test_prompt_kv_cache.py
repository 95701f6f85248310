"""What is left out of the networks changes no bit: keys and values that are kept, divisions by one, checks, copies."""

from typing import Any

import pytest
import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from diffusers.models.attention import BasicTransformerBlock
from diffusers.models.attention_processor import Attention
from diffusers.models.upsampling import Upsample2D
from torch import Tensor, nn

from litestar_diffusion.infra.diffusion.prompt_kv_cache import PromptStates
from litestar_diffusion.infra.sdxl.components import SdxlModel
from litestar_diffusion.infra.sdxl.denoise import Forward
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
    states = PromptStates()
    kept = [output(model.unet, model, cross_attention_kwargs={"prompt_states": states}) for _ in range(2)]
    assert all(torch.equal(theirs, found) for found in (*kept, output(model.unet, model)))


def test_the_decoder_is_diffusers_own_to_the_last_bit(model: SdxlModel) -> None:
    plain: Any = AutoencoderKL.from_config(model.vae.config)
    plain.load_state_dict(model.vae.state_dict())
    plain = plain.eval().to(memory_format=torch.channels_last)
    latents = torch.randn(1, 4, 16, 16, generator=torch.Generator().manual_seed(1))
    latents = latents.contiguous(memory_format=torch.channels_last)
    with torch.inference_mode():
        assert torch.equal(model.vae.decoder(latents), plain.decoder(latents))


def test_every_layer_that_can_be_lean_is(model: SdxlModel) -> None:
    """Classes are changed by exact type: a new version of diffusers could leave them as they are without a word."""
    layers = [*model.unet.modules(), *model.vae.decoder.modules()]
    assert not {type(layer) for layer in layers} & {BasicTransformerBlock, nn.GroupNorm}
    attending = {type(layer) for block in layers if hasattr(block, "attn2") for layer in (block.attn1, block.attn2)}
    assert Attention not in attending
    doubling = [layer for layer in layers if isinstance(layer, Upsample2D)]
    assert doubling
    assert all(type(layer) is not Upsample2D for layer in doubling)


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
    first, second = PromptStates(), PromptStates()
    layer = next(block.attn2 for block in model.unet.modules() if hasattr(block, "attn2"))
    one, other = torch.ones(1, TOKENS, 160), torch.zeros(1, TOKENS, 160)
    with torch.inference_mode():
        assert not torch.equal(first.of(layer, one)[0], second.of(layer, other)[0])
        assert first.of(layer, one)[0] is first.of(layer, one)[0]
