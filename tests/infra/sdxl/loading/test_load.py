"""A checkpoint that another process cuts short in the middle of a load: an error, and a process that lives on.

Each load runs in a process of its own, because what these tests rule out (SIGBUS) would end this one.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[4]
MODELS = ROOT / "models"

LOAD = """
import asyncio, itertools, os, shutil, sys
from pathlib import Path
from litestar_diffusion.domain.errors import LoadFailed
from litestar_diffusion.domain.models.spec import Checkpoint, ModelName, ModelSpec, ModelTraits
from tests.infra.engine.one_engine import one_engine

models, path, cut_at = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
source = Checkpoint(path=path, config=models / "demo.config")
spec = ModelSpec(name=ModelName("demo"), source=source, traits=ModelTraits())
preadv, reads, mapped = os.preadv, itertools.count(1), []

def cutting_preadv(descriptor, buffers, offset):
    mapped.append(str(path) in Path("/proc/self/maps").read_text())
    if next(reads) == cut_at:
        os.truncate(path, 1000)
    return preadv(descriptor, buffers, offset)

async def main():
    engine = one_engine(device="cpu", dtype="float32", threads=0, fetch=None)
    await engine.start()
    os.preadv = cutting_preadv
    try:
        await engine.loader.load(spec, lambda progress: None)
    except LoadFailed as error:
        print(error)
    shutil.copy(models / "demo.safetensors", path)
    model = await engine.loader.load(spec, lambda progress: None)
    print(len(model.components), "components", any(mapped))
    await engine.stop()

asyncio.run(main())
"""


@pytest.mark.parametrize(
    "cut_at", [pytest.param(1, marks=pytest.mark.slow), 40, pytest.param(300, marks=pytest.mark.slow)]
)
def test_a_checkpoint_that_is_cut_short_while_it_is_loaded_is_an_error(cut_at: int, tmp_path: Path) -> None:
    """The file is also never mapped, and loads once it is whole again."""
    path = tmp_path / "demo.safetensors"
    shutil.copy(MODELS / "demo.safetensors", path)
    error, after = outcome(LOAD, MODELS, path, cut_at).splitlines()[-2:]
    assert "The files of 'demo' could not be read" in error
    assert "demo.safetensors ended early" in error
    assert after == "4 components False"


BUILD = """
import os, sys
from pathlib import Path
import torch
from litestar_diffusion.domain.families.sdxl.tensors.key_tensors import COMPONENTS
from litestar_diffusion.domain.models.spec import Checkpoint, ModelName, ModelSpec, ModelTraits
from litestar_diffusion.infra.device.precision import Precision
from litestar_diffusion.infra.diffusion.load_context import Loading
from litestar_diffusion.infra.sdxl.loading.component_reader import ComponentReader

models, path = Path(sys.argv[1]), Path(sys.argv[2])
configs = models / "demo.config"
spec = ModelSpec(name=ModelName("demo"), source=Checkpoint(path=path, config=configs), traits=ModelTraits())
try:
    with ComponentReader(spec, path, configs, Precision.of(torch.float32), Loading(), lambda progress: None) as reader:
        reader.find(COMPONENTS)
        os.truncate(path, 1000)
        reader.start()
        print("converted")
        reader.take("text_encoder_2")
except OSError as error:
    print(error)
"""


@pytest.mark.slow
def test_key_conversion_reads_no_byte_of_the_file(tmp_path: Path) -> None:
    path = tmp_path / "demo.safetensors"
    shutil.copy(MODELS / "demo.safetensors", path)
    converted, error = outcome(BUILD, MODELS, path).splitlines()[-2:]
    assert converted == "converted"
    assert "demo.safetensors ended early" in error


def outcome(script: str, *arguments: object) -> str:
    """What a process prints that runs a script to its end."""
    command = [sys.executable, "-c", script, *map(str, arguments)]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, env=environment)
    assert done.returncode == 0, done.stderr
    return done.stdout
