"""Reads and checks the header of a safetensors file: milliseconds for a file of any size, because no tensor is read."""

import math
import os
import stat
import time
from collections.abc import Collection, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, BinaryIO

import msgspec
from msgspec import Meta

_LENGTH_NBYTES = 8
_MAX_HEADER_NBYTES = 32_000_000
"""Largest header that is read: a third of what the format allows, and fifty times that of a checkpoint with 2,600 tensors."""
_MAX_NAME_CHARS = 80
_METADATA = "__metadata__"
_PAUSE_S = 0.0001
"""Pause between decoding and checking, each of which takes a millisecond. A scan of a thousand files would otherwise hold the
interpreter for 5 ms (`sys.getswitchinterval`) each time that the event loop wants it."""
_USUAL_DIMENSIONS = 8
"""Tensors with more are checked one side after the other, so that the product of a million sides costs no time."""
_MAX_NUMBER = 2**63 - 1
_Number = Annotated[int, Meta(ge=0, le=_MAX_NUMBER)]
_ELEMENT_NBITS = {
    "F4": 4, "F6_E2M3": 6, "F6_E3M2": 6,
    "BOOL": 8, "U8": 8, "I8": 8, "F8_E4M3": 8, "F8_E5M2": 8, "F8_E8M0": 8, "F8_E4M3FNUZ": 8, "F8_E5M2FNUZ": 8,
    "I16": 16, "U16": 16, "F16": 16, "BF16": 16,
    "I32": 32, "U32": 32, "F32": 32,
    "I64": 64, "U64": 64, "F64": 64, "C64": 64,
}  # fmt: skip
WEIGHT_DTYPES = frozenset({"F64", "F32", "F16", "BF16", "F8_E4M3", "F8_E5M2"})
"""Dtypes of weights that are computed with. Integers are quantised weights, or no weights."""
_AGAIN = "Download or copy it again."
_PICKLE = (
    "it is a pickle (.ckpt, .pt, .bin) under another name. Pickles can run code when they are loaded and are never "
    "opened here. Convert it to safetensors with a tool that you trust, or look for a safetensors version of the model."
)
_OTHER_FORMATS = (
    (b"PK\x03\x04", _PICKLE),
    *((bytes((0x80, protocol)), _PICKLE) for protocol in range(2, 6)),
    (b"version https://git-lfs", "it is a Git LFS pointer, not the file itself. Fetch the file with `git lfs pull`."),
    (b"GGUF", "it is a GGUF file. Look for a safetensors version of the model."),
    (b"<", "it is a web page, not a model: the download was answered with a page, often one that asks to log in."),
)
"""First bytes of other formats, and what to say of them. Compared only after a file turned out to be no safetensors file: the
length of a header may begin with the same bytes."""


class BrokenFile(ValueError):
    """The file is not a whole, valid safetensors file; the message says what is wrong, and what to do."""


class TensorEntry(msgspec.Struct, frozen=True, gc=False):
    """The place of a tensor in a file. The defaults pass no check: all three must be stated."""

    dtype: str = ""
    shape: tuple[_Number, ...] = (-1,)
    data_offsets: tuple[_Number, _Number] = (-1, -1)

    @property
    def begin(self) -> int:
        """Offset of the first byte from the end of the header."""
        return self.data_offsets[0]

    @property
    def end(self) -> int:
        """Offset of the byte after the last one."""
        return self.data_offsets[1]

    @property
    def nbytes(self) -> int:
        """Size in the file."""
        return self.end - self.begin

    @property
    def elements(self) -> int:
        """Number of elements."""
        return math.prod(self.shape)


class _Metadata(msgspec.Struct):
    """The one entry of a header that is no tensor."""

    texts: dict[str, str] | None = msgspec.field(name=_METADATA, default=None)


_TENSORS = msgspec.json.Decoder(dict[str, TensorEntry])


@dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    """Every tensor of a file, and its metadata."""

    tensors: Mapping[str, TensorEntry]
    metadata: Mapping[str, str]
    data_begin: int
    """Position of the first byte after the header; the tensors' offsets count from there."""
    nbytes: int
    """Size of all tensors."""

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """The shape of each tensor by its name."""
        return {name: tensor.shape for name, tensor in self.tensors.items()}

    @property
    def odd(self) -> dict[str, str]:
        """The dtype of each tensor that holds no floating-point numbers that torch has, by its name."""
        return {name: tensor.dtype for name, tensor in self.tensors.items() if tensor.dtype not in WEIGHT_DTYPES}


def read_header(path: Path) -> Header:
    """Read the header of a file and check it against the file's size.

    Raises:
        BrokenFile: the file cannot be opened, or is not a whole, valid safetensors file.
    """
    file, header = open_safetensors(path)
    file.close()
    return header


def open_safetensors(path: Path) -> tuple[BinaryIO, Header]:
    """Open a file and read its header. The caller closes the file.

    Raises:
        BrokenFile: the file cannot be opened, or is not a whole, valid safetensors file.
    """
    with _reasons_named(), ExitStack() as opened:
        _refuse_irregular(path)
        file = opened.enter_context(path.open("rb"))
        size = file.seek(0, os.SEEK_END)
        raw = _raw_header(file, size)
        # The first is the faster; the second says what is wrong.
        header = _if_usual(raw, size) or _checked(*_parsed(raw), data_begin=_LENGTH_NBYTES + len(raw), size=size)
        opened.pop_all()
        return file, header


@contextmanager
def _reasons_named() -> Iterator[None]:
    """Turn the system's errors into BrokenFile, with the next step."""
    try:
        yield
    except FileNotFoundError as error:
        raise BrokenFile("there is no such file, or it is a link to a file that is gone.") from error
    except PermissionError as error:
        raise BrokenFile("the server may not read it. Give it read permission.") from error
    except OSError as error:
        raise BrokenFile(f"it cannot be read: {error.strerror}.") from error


def _refuse_irregular(path: Path) -> None:
    """Raise BrokenFile for anything but a file; opening a named pipe would block for ever."""
    mode = path.stat().st_mode
    if stat.S_ISDIR(mode):
        raise BrokenFile("it is a directory, not a file. A diffusers folder needs a model_index.json.")
    if not stat.S_ISREG(mode):
        raise BrokenFile("it is a device, a pipe or a socket, not a file.")


def _raw_header(file: BinaryIO, size: int) -> bytes:
    file.seek(0)
    start = file.read(24)
    if not start:
        raise BrokenFile(f"it is empty. {_AGAIN}")
    length = int.from_bytes(start[:_LENGTH_NBYTES], "little")
    if start[_LENGTH_NBYTES : _LENGTH_NBYTES + 1] != b"{":
        raise BrokenFile(_other_format(start, size))
    if length > size - _LENGTH_NBYTES:
        raise BrokenFile(
            f"it is truncated, or no safetensors file: its header should be {length} bytes long, and the file has {size}. "
            f"{_AGAIN}"
        )
    if length > _MAX_HEADER_NBYTES:
        raise BrokenFile(f"its header claims {length} bytes; no real one has more than {_MAX_HEADER_NBYTES}. {_AGAIN}")
    file.seek(_LENGTH_NBYTES)
    return file.read(length)


def _other_format(start: bytes, size: int) -> str:
    for magic, reason in _OTHER_FORMATS:
        if start.startswith(magic):
            return reason
    if size <= _LENGTH_NBYTES:
        return f"it is truncated after {size} bytes. {_AGAIN}"
    return f"its header is not JSON. It is no safetensors file, or it is damaged. {_AGAIN}"


def _if_usual(raw: bytes, size: int) -> Header | None:
    """Decode and check all tensors at once; None if something is wrong, or too unusual to be sure."""
    try:
        tensors = _TENSORS.decode(raw)
        metadata = msgspec.json.decode(raw, type=_Metadata).texts or {}
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    tensors.pop(_METADATA, None)
    time.sleep(_PAUSE_S)
    data_begin = _LENGTH_NBYTES + len(raw)
    if not tensors or not all(map(_is_usual, tensors.values())) or not _fill(tensors.values(), size - data_begin):
        return None
    return Header(tensors=tensors, metadata=metadata, data_begin=data_begin, nbytes=size - data_begin)


def _is_usual(tensor: TensorEntry) -> bool:
    """Tell whether the size fits the shape. Inlined for speed; `_check_size` is the rule."""
    begin, end = tensor.data_offsets
    shape = tensor.shape
    if len(shape) > _USUAL_DIMENSIONS or (begin == end and shape != (0,)):
        return False  # a product that passes 64 bits on the way may hide behind a side of 0
    return math.prod(shape) * _ELEMENT_NBITS.get(tensor.dtype, 0) == (end - begin) * 8


def _fill(tensors: Collection[TensorEntry], data_nbytes: int) -> bool:
    """Tell whether tensors lie one after the other and fill the file."""
    offsets = sorted([tensor.data_offsets for tensor in tensors])
    followed = all(before[1] == after[0] for before, after in pairwise(offsets))
    return followed and offsets[0][0] == 0 and offsets[-1][1] == data_nbytes


def _parsed(raw: bytes) -> tuple[dict[str, TensorEntry], dict[str, str]]:
    """Decode a header one tensor at a time."""
    try:
        entries = msgspec.json.decode(raw, type=dict[str, Any])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BrokenFile(f"its header is not JSON. It is no safetensors file, or it is damaged. {_AGAIN}") from error
    metadata = _metadata(entries.pop(_METADATA, None))
    return {name: _entry(name, entry) for name, entry in entries.items()}, metadata


def _metadata(raw: Any) -> dict[str, str]:
    """Read the metadata, which the format restricts to texts; loaders fail on anything else."""
    try:
        return msgspec.convert(raw, dict[str, str] | None) or {}
    except msgspec.ValidationError as error:
        raise BrokenFile(f"the __metadata__ of its header is not a table of texts: {error}.") from error


def _entry(name: str, raw: Any) -> TensorEntry:
    try:
        entry = msgspec.convert(raw, TensorEntry)
        for field in ("dtype", "shape", "data_offsets"):
            if field not in raw:
                raise msgspec.ValidationError(f"Object missing required field `{field}`")
    except msgspec.ValidationError as error:
        raise BrokenFile(f"the header's entry of tensor {_short(name)} makes no sense: {error}. {_AGAIN}") from error
    return entry


def _checked(tensors: Mapping[str, TensorEntry], metadata: Mapping[str, str], *, data_begin: int, size: int) -> Header:
    if not tensors:
        raise BrokenFile("its header names no tensors.")
    for name, tensor in tensors.items():
        _check_size(name, tensor)
    _check_layout(tensors, size - data_begin)
    return Header(tensors=tensors, metadata=metadata, data_begin=data_begin, nbytes=size - data_begin)


def _check_size(name: str, tensor: TensorEntry) -> None:
    element = _ELEMENT_NBITS.get(tensor.dtype)
    if element is None:
        raise BrokenFile(f"tensor {_short(name)} has the unknown dtype {_short(tensor.dtype)}.")
    if _nbits(tensor.shape, element) != tensor.nbytes * 8:
        raise BrokenFile(
            f"tensor {_short(name)} of dtype {tensor.dtype} and shape {str(list(tensor.shape))[:_MAX_NAME_CHARS]} does not fit "
            f"into the {tensor.nbytes} bytes that the header gives it. {_AGAIN}"
        )


def _nbits(shape: tuple[int, ...], element: int) -> int:
    """Compute the size of a tensor in bits; stops at the first product beyond 63 bits, so that a made-up shape costs no time."""
    total = element
    for side in shape:
        total *= side
        if total > _MAX_NUMBER:
            break
    return total


def _check_layout(tensors: Mapping[str, TensorEntry], data_nbytes: int) -> None:
    """Raise BrokenFile unless the tensors lie one after the other, without holes or overlaps, and fill the file."""
    expected = 0
    for name, tensor in sorted(tensors.items(), key=_offsets):
        if tensor.begin != expected:
            what = "overlaps another" if tensor.begin < expected else "leaves a hole before it"
            raise BrokenFile(f"tensor {_short(name)} {what} (offset {tensor.begin}, expected {expected}). {_AGAIN}")
        expected = tensor.end
    if expected > data_nbytes:
        raise BrokenFile(
            f"it is truncated: its header promises {expected} bytes of weights, and {data_nbytes} are there. {_AGAIN}"
        )
    if expected < data_nbytes:
        raise BrokenFile(f"{data_nbytes - expected} bytes follow after its last tensor; it is damaged. {_AGAIN}")


def _offsets(item: tuple[str, TensorEntry]) -> tuple[int, int]:
    return item[1].data_offsets


def _short(text: str) -> str:
    return repr(text if len(text) <= _MAX_NAME_CHARS else f"{text[:_MAX_NAME_CHARS]}…")
