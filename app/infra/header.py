"""Reads and checks the header of a safetensors file: milliseconds for any size, no tensor is touched."""

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

_LENGTH_NBYTES = 8
_MAX_HEADER_NBYTES = 100_000_000
"""The format's own limit."""
_ELEMENT_NBYTES = {
    "BOOL": 1, "U8": 1, "I8": 1, "F8_E4M3": 1, "F8_E5M2": 1, "F8_E8M0": 1,
    "I16": 2, "U16": 2, "F16": 2, "BF16": 2,
    "I32": 4, "U32": 4, "F32": 4,
    "I64": 8, "U64": 8, "F64": 8, "C64": 8,
}  # fmt: skip
_AGAIN = "Download or copy it again."


class BrokenFile(ValueError):
    """The file is not a whole, valid safetensors file; the message says why, and what to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tensor:
    """Where a tensor lies, without its data."""

    dtype: str
    shape: tuple[int, ...]
    begin: int
    end: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    """Every tensor of a file, and its metadata."""

    tensors: dict[str, Tensor]
    metadata: dict[str, str]
    nbytes: int
    """Of the weights."""

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Tensor names and shapes."""
        return {name: tensor.shape for name, tensor in self.tensors.items()}


def read_header(path: Path) -> Header:
    """Read the header of a file and check it against the file's size.

    Raises:
        BrokenFile: whatever is wrong with the file, or it cannot be opened.
    """
    try:
        with path.open("rb") as file:
            size = file.seek(0, 2)
            file.seek(0)
            start = file.read(_LENGTH_NBYTES)
            length = _header_length(start, size)
            raw = file.read(length)
    except IsADirectoryError as error:
        raise BrokenFile("it is a directory, not a file. A diffusers folder needs a model_index.json.") from error
    except PermissionError as error:
        raise BrokenFile("the server may not read it. Give it read permission.") from error
    except OSError as error:
        raise BrokenFile(f"it cannot be read: {error.strerror}.") from error
    return _checked(_parsed(raw), size - _LENGTH_NBYTES - length)


def _header_length(start: bytes, size: int) -> int:
    if size == 0:
        raise BrokenFile(f"it is empty. {_AGAIN}")
    if start[:2] == b"PK" or start[:1] == b"\x80":
        raise BrokenFile(
            "it is a pickle (.ckpt, .pt, .bin), whatever its name says. Pickles can run code when they are loaded and "
            "are never opened here: convert it to safetensors with a tool that you trust."
        )
    if len(start) < _LENGTH_NBYTES:
        raise BrokenFile(f"it is truncated after {size} bytes. {_AGAIN}")
    length = int.from_bytes(start, "little")
    if length > size - _LENGTH_NBYTES:
        raise BrokenFile(
            f"it is truncated, or no safetensors file: its header should be {length} bytes long, and "
            f"the file has {size}. {_AGAIN}"
        )
    if length > _MAX_HEADER_NBYTES:
        raise BrokenFile(f"its header claims {length} bytes; the format allows {_MAX_HEADER_NBYTES}.")
    return length


def _parsed(raw: bytes) -> dict[str, Any]:
    try:
        parsed = json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise BrokenFile(f"its header is not JSON. It is no safetensors file, or it is damaged. {_AGAIN}") from error
    if not isinstance(parsed, dict):
        raise BrokenFile("its header is not a JSON object. It is no safetensors file.")
    return cast("dict[str, Any]", parsed)


def _checked(parsed: dict[str, Any], data_nbytes: int) -> Header:
    metadata = parsed.pop("__metadata__", {})
    if not isinstance(metadata, dict):
        raise BrokenFile("the __metadata__ of its header is not an object.")
    tensors = {name: _tensor(name, entry) for name, entry in parsed.items()}
    if not tensors:
        raise BrokenFile("its header names no tensors.")
    _check_layout(tensors, data_nbytes)
    texts = {str(key): str(value) for key, value in cast("dict[object, object]", metadata).items()}
    return Header(tensors=tensors, metadata=texts, nbytes=data_nbytes)


def _tensor(name: str, entry: Any) -> Tensor:
    try:
        dtype, shape, (begin, end) = str(entry["dtype"]), tuple(entry["shape"]), entry["data_offsets"]
        valid = all(type(n) is int and n >= 0 for n in (*shape, begin, end))
    except (TypeError, KeyError, ValueError):
        valid = False
        dtype, shape, begin, end = "", (), 0, 0
    if not valid:
        raise BrokenFile(f"the header's entry of tensor {name!r} makes no sense. {_AGAIN}")
    if dtype not in _ELEMENT_NBYTES:
        raise BrokenFile(f"tensor {name!r} has the unknown dtype {dtype!r}.")
    needed = math.prod(shape) * _ELEMENT_NBYTES[dtype]
    if end - begin != needed:
        raise BrokenFile(
            f"tensor {name!r} of shape {list(shape)} and dtype {dtype} needs {needed} bytes, "
            f"and the header gives it {end - begin}."
        )
    return Tensor(dtype=dtype, shape=shape, begin=begin, end=end)


def _check_layout(tensors: dict[str, Tensor], data_nbytes: int) -> None:
    """Tensors must lie one after the other, without holes or overlaps, and fill the file."""
    expected = 0
    for name, tensor in sorted(tensors.items(), key=lambda item: (item[1].begin, item[1].end)):
        if tensor.begin != expected:
            what = "overlaps another" if tensor.begin < expected else "leaves a hole before it"
            raise BrokenFile(f"tensor {name!r} {what} (offset {tensor.begin}, expected {expected}). {_AGAIN}")
        expected = tensor.end
    if expected > data_nbytes:
        raise BrokenFile(
            f"it is truncated: its header promises {expected} bytes of weights, and {data_nbytes} are there. {_AGAIN}"
        )
    if expected < data_nbytes:
        raise BrokenFile(f"{data_nbytes - expected} bytes follow after its last tensor; it is damaged. {_AGAIN}")
