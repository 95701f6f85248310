"""One image at SDXL's real size, ours beside diffusers' plain pipeline: `uv run python benchmarks/full_size_image.py`.

Each in a process of its own, on the same checkpoint with random weights, the same seed and steps; what it takes to load is not
counted, nor is a first image. The last row is what the same work takes at the rate of a plain matrix product. Needs 7 GB of disk,
and memory for the model in the dtype that is asked for (14 GB in float32).

On a GPU: `--device cuda --side 1024 --steps 30 --guidance 7.5 --compiled`.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from arguments import checkpoint, count
from rich.console import Console
from rich.table import Table

sys.path.insert(0, str(Path(__file__).parents[1]))

_DTYPES = ("bfloat16", "float16", "float32")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dtype", choices=_DTYPES, default="bfloat16", help="of the weights (default: bfloat16)")
    parser.add_argument("--device", default="cpu", help="cpu, cuda or cuda:1 (default: cpu)")
    parser.add_argument("--side", type=count, default=512, help="of the image, in pixels (default: 512)")
    parser.add_argument("--steps", type=count, default=1, help="of the denoiser (default: 1)")
    parser.add_argument("--guidance", type=float, default=1.0, help="1: none (the default)")
    parser.add_argument("--repeats", type=count, default=2, help="images; the fastest counts (default: 2)")
    parser.add_argument("--compiled", action="store_true", help="diffusers with torch.compile, too; takes minutes")
    parser.add_argument("--file", type=checkpoint, help="a checkpoint instead of one made for this")
    parser.add_argument("--measure", choices=tuple(_MEASURES), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        print(json.dumps(_MEASURES[options.measure](options)))
        return
    console = Console(stderr=True)
    with tempfile.TemporaryDirectory() as folder:
        file = options.file
        if file is None:
            from benchmarks.full_size import write_full_size

            with console.status("writing a checkpoint of 6.9 GB"):
                file = write_full_size(Path(folder) / "full.safetensors", 1)
        seconds: dict[str, float] = {}
        for name in _MEASURES:
            if name == "diffusers, compiled" and not options.compiled:
                continue
            with console.status(f"{name}: loading, then {options.repeats + 1} images"):
                seconds |= _in_process(name, file, options)
    Console().print(_table(seconds, options))


def _table(seconds: dict[str, float], options: argparse.Namespace) -> Table:
    guided = "with guidance" if options.guidance > 1 else "without guidance"
    steps = "1 step" if options.steps == 1 else f"{options.steps} steps"
    title = f"SDXL, {options.side} x {options.side}, {steps} {guided}, {options.dtype}, {options.device}"
    table = Table("engine", "fastest of the repeats", "of ours", title=title)
    for name, value in seconds.items():
        table.add_row(name, f"{value:.2f} s", f"{value / seconds['ours']:.2f}")
    return table


def _in_process(name: str, file: Path, options: argparse.Namespace) -> dict[str, float]:
    command = [sys.executable, "-W", "ignore", __file__, "--measure", name, "--file", str(file)]
    for option in ("dtype", "device", "side", "steps", "guidance", "repeats"):
        command += [f"--{option}", str(getattr(options, option))]
    output = subprocess.run(command, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True).stdout
    return json.loads(output.strip().splitlines()[-1])


def _fastest(generate: Callable[[], object], options: argparse.Namespace) -> float:
    import torch

    from benchmarks.resident import synchronize

    device = torch.device(options.device)
    generate()
    seconds: list[float] = []
    for _ in range(options.repeats):
        synchronize(device)
        begun = time.perf_counter()
        generate()
        synchronize(device)
        seconds.append(time.perf_counter() - begun)
    return min(seconds)


def _ours(options: argparse.Namespace) -> dict[str, float]:
    import torch

    from benchmarks.resident import load_ours, request_of
    from benchmarks.roofline import flops_a_second, flops_of
    from litestar_diffusion.infra.device.malloc import keep_freed_memory
    from litestar_diffusion.infra.sdxl.latents.decode import decode
    from litestar_diffusion.infra.sdxl.run import SdxlBatchedForward, SdxlRun

    keep_freed_memory()  # as `serve` does
    device = torch.device(options.device)
    model = load_ours(options.file, None, options.dtype, device)
    request = request_of(options.file, None, side_px=options.side, steps=options.steps, guidance=options.guidance)

    def generate() -> object:
        run, batched_forward = SdxlRun(model, request), SdxlBatchedForward()
        denoise = run.denoises[0]
        while not denoise.finished:
            batched_forward.step([run])
        with torch.inference_mode():
            # random weights may yield anything; the work is the same
            latents = denoise.latents.nan_to_num(0).clamp(-4, 4)
            return decode(model, latents.to(model.dtype))

    seconds = _fastest(generate, options)
    return {"ours": seconds, "a matrix product's rate": flops_of(generate) / flops_a_second(device, model.dtype)}


def _diffusers(options: argparse.Namespace) -> dict[str, float]:
    return {"diffusers": _fastest(_call(_pipeline(options), options), options)}


def _compiled(options: argparse.Namespace) -> dict[str, float]:
    """As diffusers' own guide compiles it."""
    import torch

    pipeline = _pipeline(options)
    pipeline.unet.to(memory_format=torch.channels_last)
    pipeline.vae.to(memory_format=torch.channels_last)
    pipeline.unet = torch.compile(pipeline.unet, fullgraph=True)
    pipeline.vae.decode = torch.compile(pipeline.vae.decode, fullgraph=True)
    return {"diffusers, compiled": _fastest(_call(pipeline, options), options)}


def _pipeline(options: argparse.Namespace) -> Any:
    import torch

    from benchmarks.resident import load_diffusers

    return load_diffusers(options.file, None, getattr(torch, options.dtype)).to(options.device)


def _call(pipeline: Any, options: argparse.Namespace) -> Callable[[], object]:
    import torch

    from benchmarks.resident import PROMPT, SEED

    def generate() -> object:
        return pipeline(
            PROMPT,
            num_inference_steps=options.steps,
            guidance_scale=options.guidance,
            width=options.side,
            height=options.side,
            generator=torch.Generator().manual_seed(SEED),
        )

    return generate


_MEASURES: dict[str, Callable[[argparse.Namespace], dict[str, float]]] = {
    "ours": _ours,
    "diffusers": _diffusers,
    "diffusers, compiled": _compiled,
}

if __name__ == "__main__":
    main()
