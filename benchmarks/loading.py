"""From disk to a model that is ready, at SDXL's real size: `uv run python benchmarks/loading.py`.

Ours beside diffusers' `from_single_file`, each in a process of its own, on the same file, its pages in the cache, and beside what
the system takes to give as many pages of memory. Each process first takes all memory that is free, up to three times the model's,
and gives it back: the host of a virtual machine otherwise supplies it in the first load, at a pace that has nothing to do with
any loader. Needs 7 GB of disk for as long as it runs, and 9.3 GB of memory (18.5 GB in float32) beside the file in the
cache.
"""

import argparse
import gc
import json
import mmap
import os
import resource
import subprocess
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from arguments import checkpoint, count
from rich.console import Console
from rich.table import Table

_DTYPES = ("bfloat16", "float16", "float32")
_LEFT_NBYTES = 1 << 30
"""Free memory that is left alone, so that the file's pages stay in the cache, in bytes."""


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--dtype", choices=_DTYPES, default="bfloat16", help="of the loaded weights (default: bfloat16)"
    )
    parser.add_argument("--file", type=checkpoint, help="a checkpoint to load instead of one made for this")
    parser.add_argument("--repeats", type=count, default=2, help="processes of each; the fastest counts (default: 2)")
    parser.add_argument("--measure", choices=tuple(_MEASURES), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        print(json.dumps(_MEASURES[options.measure](options.file, options.dtype)))
        return
    console = Console(stderr=True)
    with tempfile.TemporaryDirectory() as folder:
        file = options.file
        if file is None:
            from full_size import write_full_size

            with console.status("writing a checkpoint of 6.9 GB"):
                file = write_full_size(Path(folder) / "full.safetensors", 1)
        nbytes = file.stat().st_size
        table = Table(
            "loader",
            "first load",
            "second load",
            "GB/s",
            "peak RSS / file",
            title=f"{options.dtype}, {nbytes / 1e9:.2f} GB",
        )
        best: dict[str, dict[str, Any]] = {}
        for turn in range(options.repeats):
            for name in _MEASURES:
                with console.status(f"{name}, {turn + 1} of {options.repeats}"):
                    _warm(file)
                    found = _in_process(name, file, options.dtype)
                if name not in best or found["seconds"][0] < best[name]["seconds"][0]:
                    best[name] = found
        for name, found in best.items():
            _report_outcomes(table, name, found, nbytes)
    Console().print(table)


def _report_outcomes(table: Table, name: str, found: dict[str, Any], nbytes: int) -> None:
    first, second = found["seconds"]
    table.add_row(
        name, f"{first:.2f} s", f"{second:.2f} s", f"{nbytes / first / 1e9:.2f}", f"{found['peak_nbytes'] / nbytes:.2f}"
    )


def _in_process(name: str, file: Path, dtype: str) -> dict[str, Any]:
    command = [sys.executable, "-W", "ignore", __file__, "--measure", name, "--file", str(file), "--dtype", dtype]
    output = subprocess.run(command, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True).stdout
    return json.loads(output.strip().splitlines()[-1])


def _warm(file: Path) -> None:
    with file.open("rb", buffering=0) as opened:
        buffer = bytearray(1 << 24)
        while opened.readinto(buffer):
            pass


class _Peak:
    """Largest resident set of the process, including the pages of mapped files, sampled every 20 ms."""

    def __enter__(self) -> "_Peak":
        self.nbytes = 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._stop.wait(0.02):
            pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
            self.nbytes = max(self.nbytes, pages * mmap.PAGESIZE)


def _ours(file: Path, dtype: str) -> dict[str, Any]:
    import torch

    from litestar_diffusion.domain.models.spec import Checkpoint, ModelName, ModelSpec, ModelTraits
    from litestar_diffusion.infra.device.precision import Precision
    from litestar_diffusion.infra.diffusion.load_context import Loading
    from litestar_diffusion.infra.sdxl.loading.load import load_model

    spec = ModelSpec(name=ModelName("full"), source=Checkpoint(path=file), traits=ModelTraits(), version="1")
    seconds: list[float] = []
    _have_memory(file, dtype)
    gc.freeze()  # as the engine does, here for every loader: what was imported is not looked through in the middle of a load
    with _Peak() as peak:
        loading, precision = Loading(), Precision.of(getattr(torch, dtype))
        for _ in range(2):
            begun = time.perf_counter()
            model = load_model(spec, file, precision, lambda _: None, loading)
            seconds.append(time.perf_counter() - begun)
            loading.store.release(model.components, reuse=True)
            del model
    return {"seconds": seconds, "peak_nbytes": peak.nbytes}


def _diffusers(file: Path, dtype: str) -> dict[str, Any]:
    import torch
    from diffusers.pipelines.stable_diffusion_xl.pipeline_stable_diffusion_xl import StableDiffusionXLPipeline

    from litestar_diffusion.infra.sdxl.loading.components import SHIPPED_CONFIGS

    seconds: list[float] = []
    _have_memory(file, dtype)
    gc.freeze()
    with _Peak() as peak:
        for _ in range(2):
            begun = time.perf_counter()
            pipeline = StableDiffusionXLPipeline.from_single_file(
                file,
                config=str(SHIPPED_CONFIGS),
                local_files_only=True,
                torch_dtype=getattr(torch, dtype),
                add_watermarker=False,
            )
            seconds.append(time.perf_counter() - begun)
            del pipeline
    return {"seconds": seconds, "peak_nbytes": peak.nbytes}


def _pages(file: Path, dtype: str) -> dict[str, Any]:
    """What no loader can be faster than: the first and the second touch of as many bytes as the model takes."""
    _have_memory(file, dtype)
    memory = _memory(_model_nbytes(file, dtype))
    return {"seconds": [_touch(memory), _touch(memory)], "peak_nbytes": len(memory)}


def _have_memory(file: Path, dtype: str) -> None:
    """Take and give back the memory that a load may be given."""
    free = next(line for line in Path("/proc/meminfo").read_text(encoding="ascii").splitlines() if "MemFree" in line)
    memory = _memory(min(_model_nbytes(file, dtype) * 3, int(free.split()[1]) * 1024 - _LEFT_NBYTES))
    _touch(memory)
    memory.close()


def _model_nbytes(file: Path, dtype: str) -> int:
    return file.stat().st_size * (2 if dtype == "float32" else 1)


def _memory(nbytes: int) -> mmap.mmap:
    memory = mmap.mmap(-1, nbytes, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    memory.madvise(mmap.MADV_HUGEPAGE)
    return memory


def _touch(memory: mmap.mmap) -> float:
    """Seconds that a thread a core takes to write to every page."""
    import numpy as np

    pages = np.frombuffer(memory, dtype=np.uint8)
    part = 1 << 26

    def touch(begin: int) -> None:
        pages[begin : begin + part : mmap.PAGESIZE] = 1

    begun = time.perf_counter()
    with ThreadPoolExecutor(os.cpu_count()) as threads:
        list(threads.map(touch, range(0, len(pages), part)))
    return time.perf_counter() - begun


_MEASURES = {"pages": _pages, "ours": _ours, "diffusers": _diffusers}

if __name__ == "__main__":
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    main()
