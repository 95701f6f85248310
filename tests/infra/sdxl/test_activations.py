"""The bytes that the memory manager keeps free for a request, against what a device takes for it."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import Tensor

from litestar_diffusion.domain.families.family import ImageShape
from litestar_diffusion.domain.families.sdxl.activations import activation_nbytes, step_nbytes
from litestar_diffusion.domain.families.sdxl.widths import Widths
from litestar_diffusion.infra.diffusion.fast_layers.attention import PromptKeyValues
from litestar_diffusion.infra.sdxl.components import SHIPPED_CONFIGS, build_network

CUDA = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")
SIDES_PX = [512, 768, 1024]


def predicted(of: Callable[..., int], side_px: int) -> int:
    """For one row in a 16-bit dtype."""
    return of(ImageShape(width_px=side_px, height_px=side_px, guided=False, element_nbytes=2))


def observed(work: Callable[[], object]) -> int:
    """Peak bytes beside what was there before, of the second run: the first one brings libraries' own buffers."""
    for _ in range(2):
        torch.cuda.synchronize()
        before = torch.cuda.memory_allocated()
        torch.cuda.reset_peak_memory_stats()
        with torch.inference_mode():
            work()
        torch.cuda.synchronize()
    return torch.cuda.max_memory_allocated() - before


def denoise(unet: Any, side_px: int, rows: int, states: PromptKeyValues | None = None) -> Tensor:
    like: dict[str, Any] = {"device": unet.device, "dtype": unet.dtype}
    return unet(
        torch.zeros(rows, 4, side_px // 8, side_px // 8, **like).contiguous(memory_format=torch.channels_last),
        torch.full((rows,), 500.0, device=unet.device),
        encoder_hidden_states=torch.zeros(rows, 77, unet.config.cross_attention_dim, **like),
        added_cond_kwargs={"text_embeds": torch.zeros(rows, 1280, **like), "time_ids": torch.zeros(rows, 6, **like)},
        cross_attention_kwargs={"prompt_key_values": states or PromptKeyValues()},
        return_dict=False,
    )[0]


def on_a_device(component: str) -> Any:
    """A network of SDXL's size whose weights are uninitialised memory."""
    network = build_network(component, SHIPPED_CONFIGS).to(torch.bfloat16).to_empty(device="cuda")
    return network.to(memory_format=torch.channels_last).eval()


@pytest.fixture(scope="module")
def unet() -> Iterator[Any]:
    yield on_a_device("unet")
    torch.cuda.empty_cache()


@pytest.fixture(scope="module")
def vae() -> Iterator[Any]:
    yield on_a_device("vae")
    torch.cuda.empty_cache()


@CUDA
@pytest.mark.gpu
@pytest.mark.parametrize("side_px", SIDES_PX)
@pytest.mark.parametrize("rows", [1, 2, 3, 4])
def test_a_step_takes_what_is_predicted_within_a_tenth(unet: Any, side_px: int, rows: int) -> None:
    found = observed(lambda: denoise(unet, side_px, rows))
    assert found == pytest.approx(rows * predicted(step_nbytes, side_px), rel=0.1)


@CUDA
@pytest.mark.gpu
@pytest.mark.parametrize("side_px", SIDES_PX)
def test_a_decoding_takes_what_is_predicted_within_a_tenth(vae: Any, side_px: int) -> None:
    latents = torch.zeros(1, 4, side_px // 8, side_px // 8, device="cuda", dtype=torch.bfloat16)
    found = observed(lambda: vae.decode(latents, return_dict=False))
    assert found == pytest.approx(predicted(activation_nbytes, side_px), rel=0.1)


@pytest.mark.parametrize("rows", [1, 2])
def test_the_keys_and_values_that_are_kept_are_counted_exactly(rows: int) -> None:
    """On the meta device, where shapes are real and numbers are not."""
    states = PromptKeyValues()
    denoise(build_network("unet", SHIPPED_CONFIGS).to(torch.bfloat16), 512, rows, states)
    none, wide = Widths(prompt=0), Widths()
    counted = predicted(lambda shape: step_nbytes(shape, wide) - step_nbytes(shape, none), 512)
    assert states.nbytes == rows * counted
