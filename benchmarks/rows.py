"""Rows a second by rows of the UNet's batch: `uv run python benchmarks/rows.py`.

Tells from which batch on sharing steps pays no more on a device. Without arguments it takes the demo model on the CPU; for SDXL's
real size on a GPU: `--device cuda --file CHECKPOINT --sides 512 768 1024`, where a checkpoint with random weights will do
(`--full-size` makes one).
"""

import argparse
import statistics
import sys
import tempfile
import time
from pathlib import Path

import arguments
from arguments import checkpoint, count
from rich.console import Console
from rich.table import Table

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.full_size import write_full_size
from benchmarks.resident import load_ours, request_of, synchronize
from litestar_diffusion.infra.device.device import choose_device
from litestar_diffusion.infra.sdxl.loading.components import SdxlModel
from litestar_diffusion.infra.sdxl.run import SdxlBatchedForward, SdxlRun

_MODELS = Path(__file__).parents[1] / "models"
_DTYPES = ("auto", "bfloat16", "float16", "float32")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--file", type=checkpoint, help="a checkpoint of SDXL's size (default: the demo model)")
    which.add_argument("--full-size", action="store_true", help="make one with random weights, 7 GB of disk")
    parser.add_argument(
        "--device", type=arguments.device, default="auto", help="auto, cpu, cuda or cuda:1 (default: auto)"
    )
    parser.add_argument("--dtype", choices=_DTYPES, default="auto", help="of the weights (default: auto)")
    parser.add_argument("--sides", type=count, nargs="+", default=[128], help="of the images, in pixels (default: 128)")
    parser.add_argument("--rows", type=count, nargs="+", default=[1, 2, 4, 8, 16], help="(default: 1 2 4 8 16)")
    parser.add_argument(
        "--steps", type=count, default=5, help="measured for each figure; the median counts (default: 5)"
    )
    options = parser.parse_args()
    device = choose_device(options.device)
    console = Console(stderr=True)
    with tempfile.TemporaryDirectory() as folder, console.status("loading") as status:
        file, config = options.file, None
        if options.full_size:
            status.update("writing a checkpoint of 6.9 GB")
            file = write_full_size(Path(folder) / "full.safetensors", 1)
        elif file is None:
            file, config = _MODELS / "demo.safetensors", _MODELS / "demo.config"
        model = load_ours(file, config, options.dtype, device)
        table = Table(
            "side", "rows", "ms a step", "rows a second", "of one row", title=f"{file.stem}, {options.dtype}, {device}"
        )
        for side in options.sides:
            alone = None
            for rows in options.rows:
                status.update(f"{side} x {side}, {rows} rows")
                run = SdxlRun(
                    model,
                    request_of(file, config, side_px=side, steps=options.steps + 2, guidance=1.0, n=rows),
                    at_once=rows,
                )
                seconds = _step_s(model, run, options.steps)
                alone = alone or rows / seconds
                gain = rows / seconds / alone
                table.add_row(f"{side} px", str(rows), f"{seconds * 1000:.1f}", f"{rows / seconds:.2f}", f"{gain:.2f}")
            table.add_section()
    Console().print(table)


def _step_s(model: SdxlModel, run: SdxlRun, steps: int) -> float:
    """Seconds that a step of all rows takes, after two that do not count."""
    device, batched_forward = model.unet.device, SdxlBatchedForward()
    seconds: list[float] = []
    for _ in range(steps + 2):
        synchronize(device)
        begun = time.perf_counter()
        batched_forward.step([run])
        synchronize(device)
        seconds.append(time.perf_counter() - begun)
    return statistics.median(seconds[2:])


if __name__ == "__main__":
    main()
