"""Tensors from files, larger than what is read at once, in every dtype and layout."""

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from litestar_diffusion.infra.weights.arena import HostArena, lay_out
from litestar_diffusion.infra.weights.parallel_copy import ParallelCopier
from litestar_diffusion.infra.weights.safetensors_file import SafetensorsFile, find_stored

SHAPES = {
    "flat": (3 * 2**19 + 7,),
    "linear": (1100, 1001),
    "convolution": (700, 301, 3, 3),
    "scalar": (),
    "none": (0, 4),
}
DTYPES = [torch.float16, torch.bfloat16, torch.float32]


@pytest.mark.parametrize("wanted", DTYPES)
@pytest.mark.parametrize("stored", DTYPES)
def test_large_tensors_arrive_whole_in_every_dtype_and_layout(
    stored: torch.dtype, wanted: torch.dtype, tmp_path: Path
) -> None:
    generator = torch.Generator().manual_seed(1)
    tensors = {name: torch.randn(shape, generator=generator).to(stored) for name, shape in SHAPES.items()}
    save_file(tensors, tmp_path / "some.safetensors")
    layout = lay_out(
        [(name, tensor.mT if name == "linear" else tensor) for name, tensor in tensors.items()], lambda _: wanted
    )
    arena = HostArena(layout.nbytes)
    copier = ParallelCopier()
    told: list[int] = []
    with closing(SafetensorsFile(tmp_path / "some.safetensors")) as file:
        views = file.tensors() | {"linear": file.tensors()["linear"].mT}
        pairs = [(slot.view(arena.buffer), find_stored([file], views[name])) for name, slot in layout.slots.items()]
        copier.start(pairs).finish(told.append)
        copier.stop()
    for name, (filled, _) in zip(layout.slots, pairs, strict=True):
        source = tensors[name].mT if name == "linear" else tensors[name]
        assert torch.equal(filled, source.to(wanted)), name
    assert sum(told) == sum(filled.nbytes for filled, _ in pairs)


def test_a_file_that_is_cut_short_before_it_is_read_is_an_error(tmp_path: Path) -> None:
    save_file({"one": torch.ones(1 << 20)}, tmp_path / "some.safetensors")
    copier = ParallelCopier()
    with closing(SafetensorsFile(tmp_path / "some.safetensors")) as file:
        stored = find_stored([file], file.tensors()["one"])
        os.truncate(tmp_path / "some.safetensors", 1 << 20)
        with pytest.raises(OSError, match=f"some.safetensors ended early.* after {1 << 20} bytes"):
            copier.start([(torch.empty(1 << 20), stored)]).finish(lambda _: None)
        copier.stop()


def test_an_arena_has_no_pages_before_they_are_touched() -> None:
    """All pages at once would come under the interpreter's lock: the server would stand still for seconds."""
    before = resident_nbytes()
    arena = HostArena(1 << 28)
    assert resident_nbytes() - before < 1 << 24
    arena.buffer.zero_()
    assert resident_nbytes() - before > 1 << 27


def resident_nbytes() -> int:
    return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * os.sysconf("SC_PAGESIZE")


def test_readers_work_in_their_own_threads_alone_and_leave_others_as_many_as_before(tmp_path: Path) -> None:
    """OpenMP would give each of them as many threads as there are cores."""
    save_file({"one": torch.ones(1 << 20)}, tmp_path / "some.safetensors")
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        copier, tasks = ParallelCopier(), len(list(Path("/proc/self/task").iterdir()))
        with closing(SafetensorsFile(tmp_path / "some.safetensors")) as file:
            wanted = torch.empty(1 << 20, dtype=torch.bfloat16)
            copier.start([(wanted, find_stored([file], file.tensors()["one"]))]).finish(lambda _: None)
        assert len(list(Path("/proc/self/task").iterdir())) - tasks <= 1, "one reader for one tensor"
        copier.stop()
        with ThreadPoolExecutor(1) as later:
            assert later.submit(torch.get_num_threads).result() == torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(before)


@pytest.mark.slow
def test_a_load_as_the_first_work_of_a_process_leaves_torch_its_threads() -> None:
    """Torch counts for each thread when it is first asked there, and by then the readers had set theirs."""
    script = """
import torch
from pathlib import Path
from litestar_diffusion.domain.models.spec import Checkpoint, ModelName, ModelSpec, ModelTraits
from litestar_diffusion.infra.device.precision import Precision
from litestar_diffusion.infra.sdxl.loading.load import load_model
models = Path("models")
source = Checkpoint(path=models / "demo.safetensors", config=models / "demo.config")
spec = ModelSpec(name=ModelName("demo"), source=source, traits=ModelTraits())
load_model(spec, source.path, Precision.of(torch.float32), print)
print(torch.get_num_threads())
"""
    assert said_by(script) == said_by("import torch; print(torch.get_num_threads())")


def said_by(script: str) -> str:
    """The last line that a fresh process prints, which has as many threads as torch chooses."""
    root = Path(__file__).parents[3]
    command = [sys.executable, "-c", script]
    threads = {name: value for name, value in os.environ.items() if name != "OMP_NUM_THREADS"}
    output = subprocess.run(
        command, capture_output=True, text=True, check=True, timeout=120, cwd=root, env=threads
    ).stdout
    return output.splitlines()[-1]
