"""Pages of memory that are populated before they are used."""

import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch

from litestar_diffusion.infra.weights.arena import HostArena
from litestar_diffusion.infra.weights.prefault import PrefaultBuffer, prefault

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="MADV_POPULATE_WRITE is Linux's")


def resident_nbytes() -> int:
    """Memory of this process that no file backs."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("RssAnon"))


def populated(tensor: torch.Tensor) -> int:
    """Bytes of memory that the call added."""
    before = resident_nbytes()
    if not prefault(tensor):
        pytest.skip("the kernel is older than 5.14")
    return resident_nbytes() - before


def test_the_pages_of_an_arena_are_populated_and_hold_zeros() -> None:
    arena = HostArena(1 << 27)
    assert populated(arena.buffer) > 1 << 26
    assert not arena.buffer.any()


def test_a_part_that_begins_within_a_page_is_populated_and_little_more() -> None:
    part = HostArena(1 << 27).buffer[12345 : 12345 + (1 << 26)]
    assert 1 << 25 < populated(part) < 3 << 25


def test_an_empty_tensor_asks_the_system_for_nothing() -> None:
    assert not prefault(torch.empty(0))


def test_several_threads_populate_all_pages_together() -> None:
    memory = HostArena((1 << 27) + 12345).buffer
    buffer, before = PrefaultBuffer(memory), resident_nbytes()
    with ThreadPoolExecutor(4) as threads:
        for done in [threads.submit(buffer.prefault) for _ in range(4)]:
            done.result()
    if not prefault(memory[:1]):
        pytest.skip("the kernel is older than 5.14")
    assert resident_nbytes() - before > len(memory) * 0.9
