"""The header reader: whole files are read, everything else gets a reason, and nothing makes it fall over."""

import contextlib
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import save, save_file

from litestar_diffusion.infra.header import BrokenFile, read_header

TENSORS = {"a": np.zeros((2, 3), np.float16), "b": np.zeros(5, np.float32)}


def written(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


def with_header(header: Any, data: bytes = b"") -> bytes:
    raw = header if isinstance(header, bytes) else json.dumps(header).encode()
    return len(raw).to_bytes(8, "little") + raw + data


def entry(dtype: str = "F16", shape: Any = (2,), begin: Any = 0, end: Any = 4) -> dict[str, Any]:
    return {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}


def test_a_whole_file_is_read(tmp_path: Path) -> None:
    save_file(TENSORS, tmp_path / "x.safetensors", {"who": "me"})
    header = read_header(tmp_path / "x.safetensors")
    assert header.shapes == {"a": (2, 3), "b": (5,)}
    assert header.metadata == {"who": "me"}
    assert header.nbytes == 2 * 6 + 4 * 5


def test_only_the_header_of_a_huge_file_is_read(tmp_path: Path) -> None:
    """A sparse file of 7 GB: reading it whole would show."""
    path = tmp_path / "huge.safetensors"
    nbytes = 7_000_000_000
    with path.open("wb") as file:
        file.write(with_header({"a": entry(shape=(nbytes // 2,), end=nbytes)}))
        file.truncate(file.tell() + nbytes)
    before = os.times().user + os.times().system
    assert read_header(path).nbytes == nbytes
    assert os.times().user + os.times().system - before < 1


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "empty"),
        (b"abc", "truncated"),
        (b"PK\x03\x04rest of a zip file", "pickle"),
        (b"\x80\x02}q\x00.", "pickle"),
        (b"\xff" * 100, "not JSON"),
        (with_header(b"not json"), "not JSON"),
        (with_header(b"[" * 100_000), "not JSON"),
        (with_header([]), "not JSON"),
        (with_header({}), "names no tensors"),
        (with_header({"a": entry()}), "truncated"),
        (with_header({"a": entry()}, b"0" * 9), "follow after its last tensor"),
        (with_header({"a": entry(), "b": entry(begin=2, end=6)}, b"0" * 6), "overlaps"),
        (with_header({"a": entry(), "b": entry(begin=6, end=10)}, b"0" * 10), "hole"),
        (with_header({"a": entry(shape=(3,))}, b"0" * 4), "does not fit into the 4 bytes"),
        (with_header({"a": entry(begin=-4, end=0)}), "makes no sense"),
        (with_header({"a": entry(shape=(True,))}), "makes no sense"),
        (with_header({"a": 5}), "makes no sense"),
        (with_header({"a": entry(dtype="X9")}, b"0" * 4), "unknown dtype"),
        (with_header({"__metadata__": 5, "a": entry()}, b"0" * 4), "__metadata__"),
    ],
)
def test_broken_files_get_a_reason(tmp_path: Path, data: bytes, reason: str) -> None:
    with pytest.raises(BrokenFile, match=reason):
        read_header(written(tmp_path / "x.safetensors", data))


def test_directories_and_missing_files_get_a_reason(tmp_path: Path) -> None:
    with pytest.raises(BrokenFile, match="directory"):
        read_header(tmp_path)
    with pytest.raises(BrokenFile, match="no such file"):
        read_header(tmp_path / "nothing.safetensors")


@settings(max_examples=300, deadline=None)
@given(cut=st.integers(0, 400), flips=st.lists(st.tuples(st.integers(0, 399), st.integers(0, 255)), max_size=8))
def test_damaged_files_raise_nothing_but_the_typed_error(
    tmp_path_factory: pytest.TempPathFactory, cut: int, flips: list[tuple[int, int]]
) -> None:
    data = bytearray(save(TENSORS, {"some": "metadata"}))
    for position, value in flips:
        if position < len(data):
            data[position] = value
    path = tmp_path_factory.getbasetemp() / "damaged.safetensors"
    with contextlib.suppress(BrokenFile):
        assert read_header(written(path, bytes(data[: len(data) - cut]))).tensors


@settings(max_examples=200, deadline=None)
@given(data=st.binary(max_size=300))
def test_random_bytes_raise_nothing_but_the_typed_error(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "random.safetensors"
    with pytest.raises(BrokenFile):
        read_header(written(path, data))
