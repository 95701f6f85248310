"""Memory that was freed stays for what comes next, and goes when it is told to."""

import subprocess
import sys

import pytest

SCRIPT = """
import threading, torch
from pathlib import Path
from litestar_diffusion.infra.device.malloc import give_back_freed_memory, keep_freed_memory

def resident_nbytes():
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096

def use():
    before = resident_nbytes()
    torch.ones(2**26)
    found.append(resident_nbytes() - before)
    torch.ones(2**26)
    give_back_freed_memory()
    found.append(resident_nbytes() - before)

{keep}
found = []
torch.ones(1)
thread = threading.Thread(target=use)  # the engine has one of its own
thread.start()
thread.join()
print(*found)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="glibc's heap")
@pytest.mark.parametrize(("keep", "kept"), [("keep_freed_memory()", True), ("", False)])
def test_freed_memory_is_kept_and_given_back(keep: str, kept: bool) -> None:
    """Fresh pages cost more than most of what torch does with them."""
    output = subprocess.run(
        [sys.executable, "-c", SCRIPT.format(keep=keep)], capture_output=True, text=True, check=True, timeout=60
    )
    after, at_the_end = map(int, output.stdout.split())
    assert (after > 2**27) == kept
    assert at_the_end < 2**26
