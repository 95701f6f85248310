"""The header reader: whole files are read, everything else gets a reason, and nothing makes it fall over."""

import io
import json
import os
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors import safe_open
from safetensors.numpy import save, save_file

from litestar_diffusion.infra.weights.safetensors_header import BrokenFile, read_header
from tests.headers import sparse_file

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


def test_only_the_header_of_a_huge_file_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Seven gigabytes that take no room on disk; every read of the file is counted."""
    nbytes = 7_000_000_000
    path = sparse_file(tmp_path / "huge.safetensors", {"a": (nbytes // 2,)})
    read: list[int] = []
    monkeypatch.setattr(Path, "open", lambda self, mode: _Counted(self, read))
    assert read_header(path).nbytes == nbytes
    assert 0 < sum(read) < 1000


class _Counted(io.FileIO):
    def __init__(self, path: Path, read: list[int]) -> None:
        super().__init__(path)
        self._read = read

    def read(self, size: int | None = -1, /) -> bytes:
        data = super().read(size)
        self._read.append(len(data))
        return data


@pytest.mark.parametrize("length", [640, 19280, 0x3C50])
def test_a_header_whose_length_looks_like_another_format_is_read(tmp_path: Path, length: int) -> None:
    """640 begins with the byte of a pickle, 19280 with the PK of a zip file."""
    raw = json.dumps({"a": entry()}).encode().ljust(length)
    path = written(tmp_path / "x.safetensors", with_header(raw, b"0" * 4))
    assert read_header(path).shapes == {"a": (2,)}


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "empty"),
        (b"abc", "truncated after 3 bytes"),
        (b"PK\x03\x04rest of a zip file", "pickle"),
        (b"\x80\x02}q\x00(X\x05\x00", "pickle"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:00", "git lfs pull"),
        (b"GGUF\x03\x00\x00\x00\x00\x00\x00\x00", "GGUF"),
        (b"<!DOCTYPE html><html><body>Log in", "web page"),
        (b"\xff" * 100, "not JSON"),
        ((2**63).to_bytes(8, "little") + b"{" * 50, "truncated.*should be 9223372036854775808 bytes"),
        (with_header(b"not json"), "not JSON"),
        (with_header(b"{" * 100), "not JSON"),
        (with_header(b'{"a":' * 100_000), "not JSON"),
        (with_header(b'{"\xff": 1}'), "not JSON"),
        (with_header(b'{"a": ' + b"9" * 5000 + b"}"), "not JSON|makes no sense"),
        (with_header([]), "not JSON"),
        (with_header({}), "names no tensors"),
        (with_header({"a": entry()}), "header promises 4 bytes of weights, and 0 are there.*again"),
        (with_header({"a": entry()}, b"0" * 9), "5 bytes follow after its last tensor"),
        (with_header({"a": entry(), "b": entry(begin=2, end=6)}, b"0" * 6), "'b' overlaps"),
        (with_header({"a": entry(), "b": entry(begin=6, end=10)}, b"0" * 10), "hole before it"),
        (with_header({"a": entry(begin=2, end=6)}, b"0" * 6), "hole before it"),
        (with_header({"a": entry(shape=(3,))}, b"0" * 4), r"shape \[3\] does not fit into the 4 bytes"),
        (with_header({"a": entry(shape=(2**62, 2**62))}, b"0" * 4), "does not fit"),
        (with_header({"a": entry(begin=4, end=0)}, b"0" * 4), "does not fit"),
        (with_header({"a": entry(begin=-4, end=0)}), "makes no sense"),
        (with_header({"a": entry(end=2**70)}), "makes no sense"),
        (with_header({"a": entry(shape=(2**62, 2**62, 0), end=0)}), "does not fit"),
        (with_header({"a": entry(shape=(True,))}), "makes no sense"),
        (with_header({"a": entry(shape=(2.5,))}), "makes no sense"),
        (with_header({"a": entry(shape="2")}), "makes no sense"),
        (with_header({"a": 5}), "makes no sense"),
        (with_header({"a": {"dtype": "F16"}}), "makes no sense"),
        (with_header({"a": entry(dtype="X9")}, b"0" * 4), "unknown dtype 'X9'"),
        (with_header({"__metadata__": 5, "a": entry()}, b"0" * 4), "__metadata__"),
        (with_header({"__metadata__": {"k": 1}, "a": entry()}, b"0" * 4), "__metadata__"),
    ],
    ids=lambda value: repr(value)[:40],
)
def test_broken_files_get_a_reason(tmp_path: Path, data: bytes, reason: str) -> None:
    with pytest.raises(BrokenFile, match=reason):
        read_header(written(tmp_path / "x.safetensors", data))


def test_a_header_that_would_fill_the_memory_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    with path.open("wb") as file:
        file.write((4_000_000_000).to_bytes(8, "little") + b"{")
        file.truncate(5_000_000_000)
    tracemalloc.start()
    try:
        with pytest.raises(BrokenFile, match="claims 4000000000 bytes"):
            read_header(path)
        assert tracemalloc.get_traced_memory()[1] < 1_000_000
    finally:
        tracemalloc.stop()


def test_metadata_may_be_null_and_scalars_and_empty_tensors_are_tensors(tmp_path: Path) -> None:
    tensors = {"__metadata__": None, "scalar": entry(shape=(), end=2), "empty": entry(shape=(0, 5), begin=2, end=2)}
    header = read_header(written(tmp_path / "x.safetensors", with_header(tensors, b"00")))
    assert header.shapes == {"scalar": (), "empty": (0, 5)}
    assert header.metadata == {}


def test_what_is_no_file_gets_a_reason(tmp_path: Path) -> None:
    (tmp_path / "gone.safetensors").symlink_to(tmp_path / "nothing")
    os.mkfifo(tmp_path / "pipe.safetensors")  # opening it would block for ever
    for path, reason in (
        (tmp_path, "directory"),
        (tmp_path / "nothing.safetensors", "no such file"),
        (tmp_path / "gone.safetensors", "link to a file that is gone"),
        (tmp_path / "pipe.safetensors", "a pipe"),
    ):
        with pytest.raises(BrokenFile, match=reason):
            read_header(path)


def test_a_file_that_may_not_be_read_gets_a_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Refused as the system does, because tests that run as root may read everything."""

    def refuse(self: Path, mode: str) -> None:
        raise PermissionError(13, "Permission denied")

    path = written(tmp_path / "x.safetensors", b"data")
    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(BrokenFile, match="read permission"):
        read_header(path)


def test_a_link_to_a_file_is_read(tmp_path: Path) -> None:
    save_file(TENSORS, tmp_path / "x.safetensors")
    (tmp_path / "link.safetensors").symlink_to(tmp_path / "x.safetensors")
    assert read_header(tmp_path / "link.safetensors").shapes == {"a": (2, 3), "b": (5,)}


@settings(max_examples=150, deadline=None)
@given(
    cut=st.integers(0, 400),
    flips=st.lists(st.tuples(st.integers(0, 399), st.integers(0, 255)), max_size=8),
)
def test_damaged_files_raise_nothing_but_the_typed_error(
    tmp_path_factory: pytest.TempPathFactory, cut: int, flips: list[tuple[int, int]]
) -> None:
    data = bytearray(save(TENSORS, {"some": "metadata"}))
    for position, value in flips:
        if position < len(data):
            data[position] = value
    check_against_the_library(tmp_path_factory, bytes(data[: len(data) - cut]))


NUMBERS = st.one_of(st.integers(-3, 12), st.sampled_from([2**31, 2**63, 2**64, 10**30, 1.5, True, None, "1"]))
ENTRIES = st.one_of(
    NUMBERS,
    st.fixed_dictionaries(
        {"dtype": st.sampled_from(["F16", "F32", "F4", "X", None]), "shape": st.lists(NUMBERS, max_size=3)},
        optional={"data_offsets": st.lists(NUMBERS, min_size=1, max_size=3), "other": NUMBERS},
    ),
)


@settings(max_examples=150, deadline=None)
@given(
    header=st.dictionaries(st.one_of(st.text(max_size=3), st.just("__metadata__")), ENTRIES, max_size=4),
    nbytes=st.integers(0, 24),
)
def test_made_up_headers_raise_nothing_but_the_typed_error(
    tmp_path_factory: pytest.TempPathFactory, header: dict[str, Any], nbytes: int
) -> None:
    check_against_the_library(tmp_path_factory, with_header(header, b"0" * nbytes))


@settings(max_examples=100, deadline=None)
@given(data=st.binary(max_size=300))
def test_random_bytes_raise_nothing_but_the_typed_error(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    check_against_the_library(tmp_path_factory, data)


def check_against_the_library(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    """What the reader lets through, the library that loads it must take; all else gets a reason."""
    path = written(tmp_path_factory.getbasetemp() / "fuzzed.safetensors", data)
    try:
        header = read_header(path)
    except BrokenFile:
        return
    with safe_open(path, framework="np") as file:
        assert set(file.keys()) == set(header.tensors)
