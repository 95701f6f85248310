"""What adapters cost: `uv run python benchmarks/adapters.py`.

1. An image with one LoRA beside diffusers and PEFT doing the same, not fused, in turns in one run; and both without it.
2. Eight requests with different adapters in one batch against one after the other, by the kind of adapter.
3. The same for transformer blocks of SDXL's real width with random weights.

The demo model in float32 on the CPU, adapters with random factors. CPU time of one thread is measured, so that other
programs disturb it little.
"""

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from arguments import count
from diffusers.models.attention import BasicTransformerBlock
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.resident import PROMPT, load_diffusers, load_ours, request_of
from litestar_diffusion.infra.diffusion.fast_layers.patches import patch_layers
from litestar_diffusion.infra.diffusion.side_paths.change import Change
from litestar_diffusion.infra.diffusion.side_paths.difference import Difference
from litestar_diffusion.infra.diffusion.side_paths.low_rank import LowRankLinear
from litestar_diffusion.infra.diffusion.side_paths.side_path import lay_side_paths, standing_in
from litestar_diffusion.infra.sdxl.loading.components import SdxlModel
from litestar_diffusion.infra.sdxl.run import SdxlBatchedForward, SdxlRun
from tests.adapters import ATTENTION, CONVOLUTIONS, LINEAR, kohya, layers_of, loaded, lora, put, tensors_of, use_of

_FILE = Path(__file__).parents[1] / "models" / "demo.safetensors"
_CONFIG = _FILE.with_suffix(".config")
_STEPS, _GUIDANCE, _SIDE_PX, _RANK = 14, 3.0, 128, 8
_EIGHT = 8
_WIDTH, _PROMPT_WIDTH, _POSITIONS, _BLOCKS = 1280, 2048, 256, 2
"""Two transformer blocks of SDXL's third level for a picture of 512 x 512."""


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=count, default=5, help="of each figure; the median counts (default: 5)")
    options = parser.parse_args()
    torch.set_num_threads(1)
    model = load_ours(_FILE, _CONFIG, "float32", torch.device("cpu"))
    with tempfile.TemporaryDirectory() as folder:
        Console().print(_beside_diffusers(model, Path(folder), options.repeats))
        Console().print(_eight_requests(model, Path(folder), options.repeats))
        Console().print(_full_width(options.repeats))


def _beside_diffusers(model: SdxlModel, folder: Path, repeats: int) -> Table:
    path = put(folder / "one.safetensors", tensors_of(layers_of(model, LINEAR, ["unet"]), kohya, rank=_RANK))
    pipeline, adapted = (load_diffusers(_FILE, _CONFIG, torch.float32) for _ in range(2))
    adapted.load_lora_weights(str(path))
    seconds = _medians(
        {
            "ours, without": lambda: _image(model),
            "diffusers, without": lambda: _their_image(pipeline),
            "ours, one LoRA": lambda: _image(model, path),
            "diffusers and PEFT, one LoRA": lambda: _their_image(adapted),
        },
        repeats,
    )
    table = Table("", "ms an image", title=f"one LoRA of rank {_RANK}, {_SIDE_PX} px, {_STEPS} steps, guidance")
    for name, each in seconds.items():
        table.add_row(name, f"{each * 1000:.0f}")
    for what, ours, theirs in (
        ("ours / theirs, without", "ours, without", "diffusers, without"),
        ("ours / theirs, one LoRA", "ours, one LoRA", "diffusers and PEFT, one LoRA"),
        ("with / without, ours", "ours, one LoRA", "ours, without"),
    ):
        table.add_row(what, f"{seconds[ours] / seconds[theirs]:.2f}")
    return table


def _eight_requests(model: SdxlModel, folder: Path, repeats: int) -> Table:
    table = Table(
        "eight different",
        "one after the other",
        "in one batch",
        "batch / alone",
        title=f"demo model, seconds of {_EIGHT} images",
    )
    for kind, (ends, make) in _KINDS.items():
        layers = layers_of(model, ends, ["unet"])
        paths = [
            put(folder / f"{kind} {seed}.safetensors", tensors_of(layers, kohya, rank=_RANK, seed=seed, make=make))
            for seed in range(_EIGHT)
        ]
        sets = [(path,) for path in paths] if make else [()] * _EIGHT
        seconds = _medians(
            {"alone": lambda s=sets: [_image(model, *paths) for paths in s], "batch": lambda s=sets: _batch(model, s)},
            repeats,
        )
        alone, batch = seconds["alone"], seconds["batch"]
        table.add_row(kind, f"{alone:.2f}", f"{batch:.2f}", f"{batch / alone:.2f}")
    return table


def _loha(shape: tuple[int, ...], rank: int, draw: torch.Generator) -> dict[str, Tensor]:
    inputs = int(torch.tensor(shape[1:]).prod())
    sizes = {"w1_a": (shape[0], rank), "w1_b": (rank, inputs), "w2_a": (shape[0], rank), "w2_b": (rank, inputs)}
    return {f"hada_{name}": torch.randn(size, generator=draw) * 0.05 for name, size in sizes.items()}


def _lokr(shape: tuple[int, ...], rank: int, draw: torch.Generator) -> dict[str, Tensor]:  # noqa: ARG001
    small, large = (4, 4), (shape[0] // 4, shape[1] // 4, *shape[2:])
    return {f"lokr_w{n}": torch.randn(size, generator=draw) * 0.05 for n, size in ((1, small), (2, large))}


def _full(shape: tuple[int, ...], rank: int, draw: torch.Generator) -> dict[str, Tensor]:  # noqa: ARG001
    return {"diff": torch.randn(shape, generator=draw) * 0.01}


_KINDS: Mapping[str, tuple[Sequence[str], Any]] = {
    "without": ((), None),
    "LoRA of attention": (ATTENTION, lora),
    "LoRA of all linear layers": (LINEAR, lora),
    "LoCon": ((*LINEAR, *CONVOLUTIONS), lora),
    "LoHa": ((*LINEAR, *CONVOLUTIONS), _loha),
    "LoKr": ((*LINEAR, *CONVOLUTIONS), _lokr),
    "full": ((*LINEAR, *CONVOLUTIONS), _full),
}


def _full_width(repeats: int) -> Table:
    """Measure one forward of two transformer blocks for eight rows."""
    torch.manual_seed(0)
    blocks = nn.ModuleList(
        BasicTransformerBlock(_WIDTH, 20, 64, cross_attention_dim=_PROMPT_WIDTH) for _ in range(_BLOCKS)
    ).eval()
    patch_layers(blocks)
    linear = [layer for layer in blocks.modules() if isinstance(layer, nn.Linear)]
    hidden, prompt = torch.randn(_EIGHT, _POSITIONS, _WIDTH), torch.randn(_EIGHT, 77, _PROMPT_WIDTH)

    def forward(sets: Sequence[Mapping[nn.Module, Sequence[Change]] | None]) -> None:
        with torch.inference_mode(), standing_in(lay_side_paths(sets)):
            states = hidden[: len(sets)]
            for block in blocks:
                states = block(states, encoder_hidden_states=prompt[: len(sets)])

    table = Table(
        "eight rows, different",
        "one after the other",
        "in one batch",
        "batch / alone",
        title=f"{_BLOCKS} blocks, {_WIDTH} wide, ms",
    )
    kinds: dict[str, Callable[[nn.Linear], Change] | None] = {
        "without": None,
        "LoRA, rank 16": lambda layer: _random_lora(layer, 16),
        "LoRA, rank 128": lambda layer: _random_lora(layer, 128),
        "full": _random_difference,
    }
    for kind, make in kinds.items():
        sets = [{layer: [make(layer)] for layer in linear} if make else None for _ in range(_EIGHT)]
        seconds = _medians(
            {"alone": lambda s=sets: [forward([each]) for each in s], "batch": lambda s=sets: forward(s)}, repeats
        )
        alone, batch = seconds["alone"] * 1000, seconds["batch"] * 1000
        table.add_row(kind, f"{alone:.0f}", f"{batch:.0f}", f"{batch / alone:.2f}")
    return table


def _random_lora(layer: nn.Linear, rank: int) -> Change:
    return LowRankLinear(torch.randn(rank, layer.in_features), torch.randn(layer.out_features, rank) * 1e-3, 1.0)


def _random_difference(layer: nn.Linear) -> Change:
    # One tensor for all: eight differences of SDXL's size would not fit into the memory of a small machine.
    return Difference(layer, lambda: layer.weight, 1e-3)


def _begun(model: SdxlModel, *paths: Path) -> SdxlRun:
    plain = request_of(_FILE, _CONFIG, side_px=_SIDE_PX, steps=_STEPS, guidance=_GUIDANCE)
    request = replace(plain, assets=replace(plain.assets, adapters=tuple(use_of(path) for path in paths)))
    return SdxlRun(model, request, adapters=[_ADAPTERS.setdefault(path, loaded(path)) for path in paths])


_ADAPTERS: dict[Path, Any] = {}


def _image(model: SdxlModel, *paths: Path) -> None:
    _batch(model, [paths])


def _batch(model: SdxlModel, sets: Sequence[tuple[Path, ...]]) -> None:
    runs, forward = [_begun(model, *paths) for paths in sets], SdxlBatchedForward()
    while not all(run.finished for run in runs):
        forward.step(runs)
        for run in runs:
            while run.decoding:
                run.decode_next()


def _their_image(pipeline: Any) -> None:
    size = {"width": _SIDE_PX, "height": _SIDE_PX}
    pipeline(PROMPT, num_inference_steps=_STEPS, guidance_scale=_GUIDANCE, **size)


def _medians(timed: Mapping[str, Callable[[], object]], repeats: int) -> dict[str, float]:
    """Run all in turns, once in vain, and return the median CPU seconds of each."""
    seconds: dict[str, list[float]] = {name: [] for name in timed}
    for _ in range(repeats + 1):
        for name, act in timed.items():
            begun = time.process_time()
            act()
            seconds[name].append(time.process_time() - begun)
    return {name: statistics.median(each[1:]) for name, each in seconds.items()}


if __name__ == "__main__":
    main()
