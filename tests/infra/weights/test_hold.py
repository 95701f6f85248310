"""Files that are read through a mapping are kept from being cut short meanwhile."""

import fcntl
import os
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from litestar_diffusion.infra.weights import hold as module
from litestar_diffusion.infra.weights.hold import file_system_of, hold, is_held
from litestar_diffusion.infra.weights.parallel_copy import Filler
from litestar_diffusion.infra.weights.safetensors_file import MappedFile

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="leases are Linux's")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Of 64 MiB, on a file system that knows leases."""
    path = tmp_path / "some.safetensors"
    save_file({"one": torch.arange(1 << 24, dtype=torch.float32)}, path)
    descriptor = os.open(path, os.O_RDONLY)
    try:
        fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_RDLCK)
    except OSError:
        pytest.skip("no leases on this file system")
    finally:
        os.close(descriptor)
    return path


def opened_to_write(path: Path) -> subprocess.Popen[bytes]:
    """A process that waits to cut a file short."""
    return subprocess.Popen([sys.executable, "-c", "import sys; open(sys.argv[1], 'wb')", str(path)])


def wait_until_asked(mapped: MappedFile) -> None:
    deadline = time.monotonic() + 20
    while mapped.is_held:
        assert time.monotonic() < deadline, "nobody asked for the file"
        time.sleep(0.005)


def test_who_would_cut_a_file_short_waits_until_it_is_read(file: Path) -> None:
    filler, wanted, nbytes = Filler("auto"), torch.empty(1 << 24), file.stat().st_size
    with closing(MappedFile(file)) as mapped:
        source = mapped.tensors()["one"]
        mapped.hold()
        assert mapped.is_held
        writer = opened_to_write(file)
        wait_until_asked(mapped)
        filler.start([mapped], [(wanted, source)]).finish(lambda _: None)
        assert file.stat().st_size == nbytes
    filler.stop()
    assert source.nbytes == wanted.nbytes, "still mapped"
    assert torch.equal(wanted, torch.arange(1 << 24, dtype=torch.float32))
    assert writer.wait(20) == 0
    assert file.stat().st_size == 0


def test_a_file_that_is_open_to_write_is_read_plainly_and_told_where_it_ends(file: Path) -> None:
    """Nothing keeps it whole, so the mapping is not touched: the process would end."""
    filler = Filler("auto")
    with file.open("r+b") as writer, closing(MappedFile(file)) as mapped:
        source = mapped.tensors()["one"]
        writer.truncate(1 << 20)
        with pytest.raises(OSError, match="ended early"):
            filler.start([mapped], [(torch.empty(1 << 24), source)]).finish(lambda _: None)
        assert not mapped.is_held
    filler.stop()


def test_replacing_a_file_does_not_wait(file: Path) -> None:
    other = file.with_suffix(".new")
    other.write_bytes(b"new")
    with closing(MappedFile(file)) as mapped:
        mapped.hold()
        other.replace(file)
        assert mapped.is_held
        assert file.read_bytes() == b"new"
        assert float(mapped.tensors()["one"][-1]) == (1 << 24) - 1


def test_plain_reads_hold_nothing(file: Path) -> None:
    filler = Filler("plain")
    with closing(MappedFile(file)) as mapped:
        filler.start([mapped], [(torch.empty(1 << 24), mapped.tensors()["one"])]).finish(lambda _: None)
        assert not mapped.is_held
    filler.stop()


def test_file_systems_are_found_by_the_innermost_mount(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    inner = tmp_path / "mit Leerraum und ä"
    inner.mkdir()
    escaped = str(inner).replace(" ", "\\040")
    mounts = tmp_path / "mountinfo"
    mounts.write_text(
        "22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/root rw\n"
        f"30 22 0:50 / {escaped} rw,nosuid shared:2 master:1 - fuse.sshfs me@there:/ rw\n",
        encoding="utf-8",
    )
    monkeypatch.setattr(module, "_MOUNTS", mounts)
    assert file_system_of(tmp_path / "some.safetensors") == "ext4"
    assert file_system_of(inner / "some.safetensors") == "fuse.sshfs"
    monkeypatch.setattr(module, "_MOUNTS", tmp_path / "none")
    assert file_system_of(tmp_path) == ""


def test_what_comes_over_a_network_is_not_held(file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mounts = tmp_path / "mountinfo"
    mounts.write_text("22 1 0:40 / / rw - nfs4 there:/ rw\n", encoding="utf-8")
    monkeypatch.setattr(module, "_MOUNTS", mounts)
    descriptor = os.open(file, os.O_RDONLY)
    assert not hold(descriptor, file)
    assert not is_held(descriptor)
    os.close(descriptor)
