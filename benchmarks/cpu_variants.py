"""What may make a CPU faster, part by part: `uv run python benchmarks/cpu_variants.py`.

SDXL's VAE decoder (64 x 64 latents) and the UNet's middle block (16 x 16, 77 tokens of text), which hold most of the work of an
image of 512 x 512, with random weights at their real size: as they run here, and with one thing changed. Each in a process of
its own, the fastest of the repeats. The last column is the largest difference of the output, by the deviation of what float32
gives. Needs 6 GB of memory, and a C++ compiler for torch.compile; takes about five minutes.
"""

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from arguments import count
from rich.console import Console
from rich.table import Table

sys.path.insert(0, str(Path(__file__).parents[1]))

_PARTS = ("vae", "unet")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=count, default=3, help="the fastest counts (default: 3)")
    parser.add_argument("--measure", choices=tuple(_VARIANTS), help=argparse.SUPPRESS)
    parser.add_argument("--part", choices=_PARTS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        print(json.dumps(_measured(options.measure, options.part, options.repeats)))
        return
    table = Table("variant", *(f"{part}, ms" for part in _PARTS), *(f"{part}, off by" for part in _PARTS))
    console = Console(stderr=True)
    for variant in _VARIANTS:
        with console.status(variant):
            found = [_in_process(variant, part, options.repeats) for part in _PARTS]
        times = [f"{1000 * one['seconds']:.0f}" if one else "failed" for one in found]
        table.add_row(variant, *times, *(f"{one['off']:.1e}" if one else "" for one in found))
    Console().print(table)


def _in_process(variant: str, part: str, repeats: int) -> dict[str, float] | None:
    command = [
        sys.executable,
        "-W",
        "ignore",
        __file__,
        "--measure",
        variant,
        "--part",
        part,
        "--repeats",
        str(repeats),
    ]
    job_result = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, timeout=900)
    return json.loads(job_result.stdout.strip().splitlines()[-1]) if job_result.returncode == 0 else None


def _measured(variant: str, part: str, repeats: int) -> dict[str, float]:
    import torch

    from litestar_diffusion.infra.device.malloc import keep_freed_memory

    if variant != "freed memory not kept":
        keep_freed_memory()
    plain, inputs = _part(part)
    with torch.inference_mode():
        expected = plain(*inputs).float()
        run = _VARIANTS[variant](plain, inputs)
        seconds: list[float] = []
        for _ in range(repeats + 1):
            begun = time.perf_counter()
            output = run()
            seconds.append(time.perf_counter() - begun)
        off = (output.float() - expected).abs().max() / expected.std()
    return {"seconds": min(seconds[1:]), "off": float(off)}


def _part(name: str) -> tuple[Any, tuple[Any, ...]]:
    """A part in float32, as it is here, and its inputs."""
    import torch

    from litestar_diffusion.infra.sdxl.loading.components import SHIPPED_CONFIGS, build_network

    network: Any = build_network(name, SHIPPED_CONFIGS)
    part: Any = (network.decoder if name == "vae" else network.mid_block).to_empty(device="cpu")
    torch.manual_seed(1)
    for parameter in part.parameters():
        parameter.requires_grad_(False)
        if parameter.ndim == 1:
            parameter.fill_(1)
        else:
            parameter.normal_(0, parameter[0].numel() ** -0.5)
    part = part.eval().to(memory_format=torch.channels_last)
    if name == "vae":
        return part, (torch.randn(1, 4, 64, 64).contiguous(memory_format=torch.channels_last),)
    images = torch.randn(1, 1280, 16, 16).contiguous(memory_format=torch.channels_last)
    return part, (images, torch.randn(1, 1280), torch.randn(1, 77, 2048))


def _plain(part: Any, inputs: tuple[Any, ...]) -> Callable[[], Any]:
    return lambda: part(*inputs)


def _contiguous(part: Any, inputs: tuple[Any, ...]) -> Callable[[], Any]:
    import torch

    part = part.to(memory_format=torch.contiguous_format)
    return lambda: part(*(one.contiguous() for one in inputs))


def _upsampled_by_diffusers(part: Any, inputs: tuple[Any, ...]) -> Callable[[], Any]:
    from diffusers.models.upsampling import Upsample2D

    for layer in part.modules():
        if isinstance(layer, Upsample2D):
            layer.__class__ = Upsample2D
    return lambda: part(*inputs)


def _upcast(part: Any, inputs: tuple[Any, ...]) -> Callable[[], Any]:
    import torch

    from litestar_diffusion.infra.diffusion.fast_layers.patches import patch_layers
    from litestar_diffusion.infra.diffusion.fast_layers.upcasting import Upcaster, upcast_weights

    patch_layers(part, Upcaster())
    for name in upcast_weights(part):
        owner, _, attribute = name.rpartition(".")
        layer: Any = part.get_submodule(owner)
        setattr(layer, attribute, torch.nn.Parameter(getattr(layer, attribute).half(), requires_grad=False))
    return lambda: part(*inputs)


def _in_bfloat16(part: Any, inputs: tuple[Any, ...]) -> Callable[[], Any]:
    import torch

    part, narrow = part.to(torch.bfloat16), [one.to(torch.bfloat16) for one in inputs]
    return lambda: part(*narrow)


def _compiled(part: Any, inputs: tuple[Any, ...]) -> Callable[[], Any]:
    """Weights frozen and prepacked, elementwise work fused."""
    import torch
    from torch._inductor import config

    config.freezing = True
    run = torch.compile(part)
    return lambda: run(*inputs)


def _int8(part: Any, inputs: tuple[Any, ...]) -> Callable[[], Any]:
    """Linear layers with int8 weights and activations quantized as they come, prepacked."""
    import torch
    from torch.ao.quantization import quantize_dynamic

    part = quantize_dynamic(part, {torch.nn.Linear}, dtype=torch.qint8)
    return lambda: part(*inputs)


_VARIANTS: dict[str, Callable[[Any, tuple[Any, ...]], Callable[[], Any]]] = {
    "as it runs here, in float32": _plain,
    "float16 weights, widened": _upcast,
    "bfloat16": _in_bfloat16,
    "freed memory not kept": _plain,
    "doubled before the convolution": _upsampled_by_diffusers,
    "not in channels_last": _contiguous,
    "torch.compile, frozen": _compiled,
    "linear layers in int8": _int8,
}

if __name__ == "__main__":
    main()
