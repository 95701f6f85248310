"""What is left out of the networks changes no bit: keys and values that are kept, divisions by one."""

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from diffusers.models.attention_processor import AttnProcessor2_0
from torch import Tensor

from litestar_diffusion.infra.sdxl.attention import PromptStates
from litestar_diffusion.infra.sdxl.components import SdxlModel
from litestar_diffusion.infra.sdxl.denoise import Forward
from litestar_diffusion.infra.sdxl.run import SdxlRun
from tests.infra.test_parity import model_named, spec_named
from tests.infra.test_render import request

ROWS, TOKENS = 3, 77


@pytest.fixture
def model() -> SdxlModel:
    return model_named("demo")


def attention_layers(model: SdxlModel) -> Iterator[Any]:
    for block in model.unet.modules():
        if hasattr(block, "attn2"):
            yield from (block.attn1, block.attn2)


def output(model: SdxlModel, **options: Any) -> Tensor:
    """Rows x 4 x 16 x 16, the same noise and prompts at each call."""
    draw = torch.Generator().manual_seed(1)

    def drawn(*shape: int) -> Tensor:
        return torch.randn(shape, generator=draw)

    unet: Any = model.unet
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
    states = PromptStates()
    kept = [output(model, cross_attention_kwargs={"prompt_states": states}) for _ in range(2)]
    ours = output(model)
    was = {layer: layer.processor for layer in attention_layers(model)}
    scales = {
        (module, name): module.__dict__.pop(name)
        for module in model.unet.modules()
        for name in ("output_scale_factor", "rescale_output_factor")
        if name in module.__dict__
    }
    try:
        for layer in was:
            layer.set_processor(AttnProcessor2_0())
        for module, name in scales:
            setattr(module, name, 1.0)
        theirs = output(model)
    finally:
        for layer, processor in was.items():
            layer.set_processor(processor)
        for (module, name), scale in scales.items():
            setattr(module, name, scale)
    assert len(scales) > 10
    assert all(torch.equal(theirs, found) for found in (*kept, ours))


@pytest.mark.parametrize(("split", "times"), [(False, 1), (True, 6)])
def test_keys_and_values_of_a_prompt_are_computed_once_unless_memory_is_short(
    model: SdxlModel, split: bool, times: int
) -> None:
    layer = next(block.attn2 for block in model.unet.modules() if hasattr(block, "attn2"))
    calls: list[object] = []
    hook = layer.to_k.register_forward_hook(lambda *_: calls.append(None))
    strands = SdxlRun(model, request(spec_named("demo"), guidance_scale=5.0, num_inference_steps=3)).strands
    forward = Forward(model, strands, split_guidance=split)
    try:
        with torch.inference_mode():
            for _ in range(3):
                strands[0].advance(forward.predictions()[0])
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
