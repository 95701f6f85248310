"""The bytes that the memory manager keeps free for a request, against what a device takes for it."""

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode

from litestar_diffusion.domain.families.family import ImageShape
from litestar_diffusion.domain.families.sdxl.activations import activation_nbytes, step_nbytes
from litestar_diffusion.domain.families.sdxl.widths import Widths
from litestar_diffusion.infra.diffusion.fast_layers.attention import PromptKeyValues
from litestar_diffusion.infra.diffusion.side_paths.change import Change
from litestar_diffusion.infra.diffusion.side_paths.low_rank import LowRankConvolution, LowRankLinear
from litestar_diffusion.infra.diffusion.side_paths.side_path import lay_side_paths, standing_in
from litestar_diffusion.infra.sdxl.loading.components import SHIPPED_CONFIGS, build_network

CUDA = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")
SIDES_PX = [512, 768, 1024]


def predicted(of: Callable[..., int], side_px: int) -> int:
    """For one row in a 16-bit dtype."""
    return of(ImageShape(width_px=side_px, height_px=side_px, rows=1, element_nbytes=2))


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


class _LivePeak(TorchDispatchMode):
    """Peak bytes of the tensors that operations make, on the meta device as on any."""

    def __init__(self, weights: Iterable[Tensor]) -> None:
        super().__init__()
        self.peak = 0
        self._weights = {weight.untyped_storage()._cdata for weight in weights}
        self._live: dict[int, tuple[StorageWeakRef, int]] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = func(*args, **(kwargs or {}))
        for tensor in made if isinstance(made, list | tuple) else [made]:
            storage = tensor.untyped_storage() if isinstance(tensor, Tensor) else None
            if storage is not None and storage._cdata not in self._weights:
                self._live[storage._cdata] = StorageWeakRef(storage), storage.nbytes()
        self._live = {key: entry for key, entry in self._live.items() if not entry[0].expired()}
        self.peak = max(self.peak, sum(nbytes for _, nbytes in self._live.values()))
        return made


def _low_rank(layer: Any, rank: int) -> Change:
    def on_meta(*shape: int) -> Tensor:
        return torch.empty(shape, device="meta", dtype=torch.bfloat16)

    if isinstance(layer, nn.Linear):
        return LowRankLinear(on_meta(rank, layer.in_features), on_meta(layer.out_features, rank), 1.0)
    down = on_meta(rank, layer.in_channels, *layer.kernel_size)
    return LowRankConvolution(layer, down, on_meta(layer.out_channels, rank, 1, 1), 1.0)


@pytest.mark.slow
def test_a_large_adapter_of_every_layer_adds_less_than_the_prediction_is_off_by() -> None:
    """A LoCon of rank 128 in every linear layer and convolution of SDXL's UNet; 2 rows of 1024 x 1024 in bfloat16."""
    unet = build_network("unet", SHIPPED_CONFIGS).to(torch.bfloat16)
    layers = [layer for layer in unet.modules() if isinstance(layer, nn.Linear | nn.Conv2d)]
    changes: Any = {layer: [_low_rank(layer, 128)] for layer in layers}
    factors = [factor for (change,) in changes.values() for factor in (change.down, change.up)]
    peaks: list[int] = []
    for sets in ([None, None], [changes, None], [changes, changes]):
        with (
            torch.inference_mode(),
            _LivePeak([*unet.parameters(), *factors]) as live,
            standing_in(lay_side_paths(sets)),
        ):
            denoise(unet, 1024, 2)
        peaks.append(live.peak)
    assert peaks[0] <= peaks[2] < 1.1 * peaks[0]
    assert peaks[1] <= peaks[2]
