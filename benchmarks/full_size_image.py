"""One image at SDXL's real size, ours beside diffusers' plain pipeline: `uv run python benchmarks/full_size_image.py`.

Each in a process of its own, on the same checkpoint with random weights, the same seed and steps; what it takes to load is not
counted, nor is a first image. Needs 7 GB of disk, and memory for the model in the dtype that is asked for (14 GB in float32).
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
_PROMPT = "a red circle on a blue background"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dtype", choices=_DTYPES, default="bfloat16", help="of the weights (default: bfloat16)")
    parser.add_argument("--side", type=int, default=512, help="of the image, in pixels (default: 512)")
    parser.add_argument("--steps", type=count, default=1, help="of the denoiser (default: 1)")
    parser.add_argument("--guidance", type=float, default=1.0, help="1: none (the default)")
    parser.add_argument("--repeats", type=count, default=2, help="images; the fastest counts (default: 2)")
    parser.add_argument("--file", type=checkpoint, help="a checkpoint instead of one made for this")
    parser.add_argument("--measure", choices=tuple(_MEASURES), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        print(json.dumps(_measured(_MEASURES[options.measure](options), options.repeats)))
        return
    console = Console(stderr=True)
    table = Table("engine", "fastest of the repeats", title=_title(options))
    with tempfile.TemporaryDirectory() as folder:
        file = options.file
        if file is None:
            from benchmarks.full_size import write_full_size

            with console.status("writing a checkpoint of 6.9 GB"):
                file = write_full_size(Path(folder) / "full.safetensors", 1)
        seconds = {}
        for name in _MEASURES:
            with console.status(f"{name}: loading, then {options.repeats + 1} images"):
                seconds[name] = _in_process(name, file, options)
            table.add_row(name, f"{seconds[name]:.2f} s")
    table.add_row("diffusers / ours", f"{seconds['diffusers'] / seconds['ours']:.2f}")
    Console().print(table)


def _title(options: argparse.Namespace) -> str:
    guided = "with guidance" if options.guidance > 1 else "without guidance"
    return f"SDXL, {options.side} x {options.side}, {options.steps} steps {guided}, {options.dtype}"


def _in_process(name: str, file: Path, options: argparse.Namespace) -> float:
    command = [sys.executable, "-W", "ignore", __file__, "--measure", name, "--file", str(file)]
    for option in ("dtype", "side", "steps", "guidance", "repeats"):
        command += [f"--{option}", str(getattr(options, option))]
    output = subprocess.run(command, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True).stdout
    return json.loads(output.strip().splitlines()[-1])


def _measured(generate: Callable[[], object], repeats: int) -> float:
    generate()
    seconds: list[float] = []
    for _ in range(repeats):
        begun = time.perf_counter()
        generate()
        seconds.append(time.perf_counter() - begun)
    return min(seconds)


def _ours(options: argparse.Namespace) -> Callable[[], object]:
    import torch

    from litestar_diffusion.domain.generation import GenerationParameters, Limits, resolve
    from litestar_diffusion.domain.model import Checkpoint, ModelName, ModelSpec, ModelTraits
    from litestar_diffusion.infra.sdxl.decode import decode
    from litestar_diffusion.infra.sdxl.load import load_model
    from litestar_diffusion.infra.sdxl.prompt_cache import PromptCache
    from litestar_diffusion.infra.sdxl.run import SdxlForwards, SdxlRun

    spec = ModelSpec(name=ModelName("full"), source=Checkpoint(path=options.file), traits=ModelTraits(), version="1")
    model = load_model(spec, options.file, getattr(torch, options.dtype), lambda _: None)
    model.prompts = PromptCache(max_nbytes=0)  # every image encodes its prompt, as the pipeline does
    said = GenerationParameters(
        prompt=_PROMPT,
        num_inference_steps=options.steps,
        guidance_scale=options.guidance,
        width=options.side,
        height=options.side,
        seed=7,
    )
    request = resolve(said, spec, Limits(), random_seed=0).request

    def generate() -> object:
        run, forwards = SdxlRun(model, request), SdxlForwards()
        strand = run.strands[0]
        while not strand.finished:
            forwards.step([run])
        with torch.inference_mode():
            latents = strand.latents.nan_to_num(0).clamp(
                -4, 4
            )  # random weights may yield anything; the work is the same
            return decode(model, latents.to(model.dtype))

    return generate


def _diffusers(options: argparse.Namespace) -> Callable[[], object]:
    import torch
    from diffusers import StableDiffusionXLPipeline

    from litestar_diffusion.infra.sdxl.components import SHIPPED_CONFIGS

    pipeline: Any = StableDiffusionXLPipeline.from_single_file(
        str(options.file),
        config=str(SHIPPED_CONFIGS),
        local_files_only=True,
        torch_dtype=getattr(torch, options.dtype),
        add_watermarker=False,
    )
    pipeline.set_progress_bar_config(disable=True)

    def generate() -> object:
        return pipeline(
            _PROMPT,
            num_inference_steps=options.steps,
            guidance_scale=options.guidance,
            width=options.side,
            height=options.side,
            generator=torch.Generator().manual_seed(7),
        )

    return generate


_MEASURES: dict[str, Callable[[argparse.Namespace], Callable[[], object]]] = {"ours": _ours, "diffusers": _diffusers}

if __name__ == "__main__":
    main()
