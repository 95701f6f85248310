"""Pages of memory and of files that are had at once."""

import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from litestar_diffusion.infra.weights.arena import HostArena
from litestar_diffusion.infra.weights.prefault import PrefaultBuffer, leave_pages, prefault
from litestar_diffusion.infra.weights.safetensors_file import MappedFile

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="MADV_POPULATE_WRITE is Linux's")


def resident_nbytes(kind: str) -> int:
    """Of this process: RssAnon, or RssFile."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(kind))


def had(tensor: torch.Tensor, *, of_file: bool = False) -> int:
    """Bytes that were not there before."""
    kind = "RssFile" if of_file else "RssAnon"
    before = resident_nbytes(kind)
    if not prefault(tensor, of_file=of_file):
        pytest.skip("the kernel is older than 5.14")
    return resident_nbytes(kind) - before


def test_an_arena_has_its_pages_without_a_byte_being_written() -> None:
    arena = HostArena(1 << 27)
    assert had(arena.buffer) > 1 << 26
    assert not arena.buffer.any()


def test_a_part_that_begins_within_a_page_is_had_and_little_more() -> None:
    part = HostArena(1 << 27).buffer[12345 : 12345 + (1 << 26)]
    assert 1 << 25 < had(part) < 3 << 25


def test_pages_of_a_file_are_had_to_be_read(tmp_path: Path) -> None:
    save_file({"one": torch.ones(1 << 24)}, tmp_path / "some.safetensors")
    file = MappedFile(tmp_path / "some.safetensors")
    tensor = file.tensors()["one"]
    assert had(tensor, of_file=True) > 1 << 25
    assert bool((tensor == 1).all())
    file.close()


def test_nothing_is_asked_for_nothing() -> None:
    assert not prefault(torch.empty(0))


def test_pages_of_a_file_are_given_back_and_read_again(tmp_path: Path) -> None:
    save_file({"one": torch.ones(1 << 24)}, tmp_path / "some.safetensors")
    with closing(MappedFile(tmp_path / "some.safetensors")) as file:
        tensor = file.tensors()["one"]
        had(tensor, of_file=True)
        before = resident_nbytes("RssFile")
        leave_pages(tensor)
        assert before - resident_nbytes("RssFile") > 1 << 25
        assert bool((tensor == 1).all())


def test_many_threads_have_all_pages_of_a_room() -> None:
    memory = HostArena((1 << 27) + 12345).buffer
    room, before = PrefaultBuffer(memory), resident_nbytes("RssAnon")
    with ThreadPoolExecutor(4) as threads:
        for done in [threads.submit(room.prefault) for _ in range(4)]:
            done.result()
    if not prefault(memory[:1]):
        pytest.skip("the kernel is older than 5.14")
    assert resident_nbytes("RssAnon") - before > len(memory) * 0.9
