"""Pages of memory and of files that are had at once."""

import mmap
import sys
from pathlib import Path

import pytest
import torch

from litestar_diffusion.infra.arena import HostArena
from litestar_diffusion.infra.mapped import MappedFile
from litestar_diffusion.infra.pages import have_pages

MODELS = Path(__file__).parents[2] / "models"
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="MADV_POPULATE_WRITE is Linux's")


def resident_nbytes() -> int:
    return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * mmap.PAGESIZE


def test_an_arena_has_its_pages_without_a_byte_being_written() -> None:
    arena, before = HostArena(1 << 27), resident_nbytes()
    if not have_pages(arena.buffer):
        pytest.skip("the kernel is older than 5.14")
    assert resident_nbytes() - before > 1 << 26
    assert not arena.buffer.any()


def test_a_part_that_begins_within_a_page_is_had_too() -> None:
    part = HostArena(1 << 22).buffer[12345 : 12345 + (1 << 20)]
    before = part.clone()
    have_pages(part)
    assert torch.equal(part, before)


def test_pages_of_a_file_are_had_to_be_read() -> None:
    file = MappedFile(MODELS / "demo.safetensors")
    tensor = max(file.tensors().values(), key=lambda one: one.nbytes)
    have_pages(tensor, of_file=True)
    assert tensor.float().isfinite().all()
    file.close()


def test_nothing_is_asked_for_nothing() -> None:
    assert not have_pages(torch.empty(0))
