"""A thousand checkpoints in the models folder, and a thousand LoRAs in `loras/`: `uv run python benchmarks/catalogue.py`.

Each has the header of a full-size SDXL checkpoint (2,515 tensors) and takes no room on disk. A server of its own is started with
them. The figures are when its port opens, how long it takes to read all headers, the latency of `/health/live` at that time, and
what finding one model and one LoRA costs. The baseline is the time that `json.loads` takes for the checkpoints' headers, one
after the other.
"""

import argparse
import json
import os
import sys
import tempfile
import time
from pathlib import Path

import httpx
from rich.console import Console
from rich.table import Table

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.arguments import count
from benchmarks.server import server
from tests.headers import Shapes, sparse_file
from tests.load.rates import health_watched, median_of, p99, timed

_START_S = 120
_UNET = "model.diffusion_model."


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=count, default=1000, help="checkpoints in the folder (default: 1000)")
    options = parser.parse_args()
    table = Table("figure", "value", title=f"{options.files} checkpoints")
    with tempfile.TemporaryDirectory() as folder, Console(stderr=True).status("writing files"):
        shapes = _shapes()
        models = Path(folder) / "models"
        models.mkdir()
        for index in range(options.files):
            sparse_file(models / f"model-{index:04}.safetensors", shapes)
        (models / "loras").mkdir()
        for index in range(options.files):
            sparse_file(models / "loras" / f"lora-{index:04}.safetensors", _lora_shapes(shapes))
        header = json.dumps({name: {"dtype": "F16", "shape": shape} for name, shape in shapes.items()})
        begun = time.perf_counter()
        for _ in range(options.files):
            json.loads(header)
        table.add_row("json.loads of all headers", f"{time.perf_counter() - begun:.1f} s")
        environment = {
            "LITESTAR_DIFFUSION__MODELS__DIRECTORY": str(models),
            "LITESTAR_DIFFUSION__MODELS__DEFAULT": "",
        }
        with server(Path(folder), environment) as started:
            table.add_row("port open after process start", f"{started.wait_until_ok('/health/live', _START_S):.2f} s")
            with httpx.Client(base_url=started.url, timeout=_START_S) as client:
                _measure(client, models, shapes, table)
    Console().print(table)


def _measure(client: httpx.Client, models: Path, shapes: Shapes, table: Table) -> None:
    begun = time.perf_counter()
    listed = client.get("/models").json()
    table.add_row(
        f"all {len(listed)} headers read, while torch is being imported", f"{time.perf_counter() - begun:.1f} s"
    )
    while client.get("/health/ready").status_code != 200:
        time.sleep(0.1)
    with health_watched(client.base_url) as waits:
        time.sleep(2)
    table.add_row(f"/health/live of an idle server, p99 of {len(waits)}", f"{p99(waits) * 1000:.1f} ms")
    begun = time.perf_counter()
    listed = client.get("/adapters").json()
    table.add_row(f"GET /adapters: all {len(listed)} headers of LoRAs", f"{time.perf_counter() - begun:.1f} s")
    for file in models.glob("*.safetensors"):
        os.utime(file)
    with health_watched(client.base_url) as waits:
        again = timed(lambda: client.get("/models").raise_for_status())
    table.add_row("all headers read again, after every file has changed", f"{again:.1f} s")
    table.add_row(f"/health/live at the same time, p99 of {len(waits)}", f"{p99(waits) * 1000:.1f} ms")
    with health_watched(client.base_url) as waits:
        unchanged = median_of(lambda: client.get("/models").raise_for_status(), 20)
    table.add_row("GET /models, nothing changed, p50", f"{unchanged * 1000:.0f} ms")
    table.add_row(f"/health/live at the same time, p99 of {len(waits)}", f"{p99(waits) * 1000:.1f} ms")
    known = median_of(lambda: client.get("/models/model-0000").raise_for_status(), 100)
    table.add_row("GET /models/<name>, p50", f"{known * 1000:.1f} ms")
    lora = median_of(lambda: client.get("/adapters/lora-0000").raise_for_status(), 100)
    table.add_row("GET /adapters/<name>, p50", f"{lora * 1000:.1f} ms")
    sparse_file(models / "added.safetensors", shapes)
    added = timed(lambda: client.get("/models/added").raise_for_status())
    table.add_row("the same, of a file that was just added", f"{added * 1000:.1f} ms")


def _lora_shapes(shapes: Shapes) -> Shapes:
    """The tensors of a LoRA of the attention of the UNet, in the naming of ComfyUI."""
    found: Shapes = {}
    for name, shape in shapes.items():
        if name.startswith(_UNET) and "attn" in name and len(shape) == 2:
            layer = f"diffusion_model.{name.removeprefix(_UNET).removesuffix('.weight')}"
            found[f"{layer}.lora_A.weight"] = (16, shape[1])
            found[f"{layer}.lora_B.weight"] = (shape[0], 16)
    return found


def _shapes() -> Shapes:
    """The tensors of a full-size checkpoint."""
    from benchmarks.full_size import full_size_tensors

    return {name: tuple(tensor.shape) for name, tensor in full_size_tensors().items()}


if __name__ == "__main__":
    main()
