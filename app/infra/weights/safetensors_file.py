"""The tensors of an open safetensors file: shapes that conversion may rename, cut and transpose before a byte is read."""

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import torch
from torch import Tensor

from .safetensors_header import Header, TensorEntry, open_safetensors

_DTYPES = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "F8_E4M3": torch.float8_e4m3fn,
    "F8_E5M2": torch.float8_e5m2,
    "I64": torch.int64,
    "I32": torch.int32,
    "I16": torch.int16,
    "I8": torch.int8,
    "U8": torch.uint8,
    "BOOL": torch.bool,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredTensor:
    """The place of a tensor in an open file."""

    file: BinaryIO
    offset: int
    """Position of the first element in the file, in bytes."""
    shape: tuple[int, ...]
    stride: tuple[int, ...]
    """Distance of neighbours along each axis in the file, in elements."""
    dtype: torch.dtype
    is_contiguous: bool
    """Whether the elements follow each other in the file in the order of the shape."""

    def read_into(self, memory: memoryview, skip: int = 0) -> None:
        """Fill memory with the tensor's bytes, by positional reads, which many threads may make at once.

        Args:
            memory: what to fill.
            skip: bytes of the tensor to leave out before.

        Raises:
            OSError: the file ends before the memory is full.
        """
        at = self.offset + skip
        while memory:
            count = os.preadv(self.file.fileno(), [memory], at)
            if count == 0:
                raise OSError(f"{Path(self.file.name).name} ended early while it was being read, after {at} bytes")
            memory, at = memory[count:], at + count

    def read(self) -> Tensor:
        """Read the tensor, with the strides that it has in the file.

        Raises:
            OSError: the file ends before the tensor does.
        """
        span = 1 + sum((size - 1) * step for size, step in zip(self.shape, self.stride, strict=True))
        values = torch.empty(span if 0 not in self.shape else 0, dtype=self.dtype)
        self.read_into(bytes_of(values))
        return values.as_strided(self.shape, self.stride)


class SafetensorsFile:
    """An open file, and a tensor on the meta device for each tensor in it.

    Nothing of the file is mapped: another process may cut it short at any time, and touching a mapped page that is gone ends
    the process (SIGBUS). Views of the meta tensors know their place in the file; an operation that needs values fails.
    """

    def __init__(self, path: Path) -> None:
        """Open the file and read its header.

        Raises:
            BrokenFile: the file cannot be opened, or is not a whole, valid safetensors file.
        """
        self._file, self._header = open_safetensors(path)
        self._tensors: dict[str, Tensor] = {}
        self._offsets: dict[torch.UntypedStorage, int] = {}

    @property
    def header(self) -> Header:
        """Names, shapes and metadata, as they were when it was opened."""
        return self._header

    def tensors(self) -> dict[str, Tensor]:
        """Return every tensor by its name in the file, on the meta device, but for those of a dtype that torch does not have."""
        if not self._tensors:
            known = ((name, entry, _DTYPES.get(entry.dtype)) for name, entry in self._header.tensors.items())
            self._tensors = {name: self._tensor(entry, dtype) for name, entry, dtype in known if dtype is not None}
        return self._tensors

    def find(self, view: Tensor) -> StoredTensor | None:
        """Find the place of a view of one of the tensors; None for any other tensor."""
        begin = self._offsets.get(view.untyped_storage())
        if begin is None:
            return None
        return StoredTensor(
            file=self._file,
            offset=begin + int(view.storage_offset()) * view.itemsize,
            shape=tuple(view.shape),
            stride=view.stride(),
            dtype=view.dtype,
            is_contiguous=view.is_contiguous(),
        )

    def close(self) -> None:
        """Close the file; nothing can be read from then on."""
        self._file.close()

    def _tensor(self, entry: TensorEntry, dtype: torch.dtype) -> Tensor:
        # A storage for each: offsets in a common one would be multiples of the element size, which no file guarantees.
        tensor = torch.empty(entry.shape, dtype=dtype, device="meta")
        self._offsets[tensor.untyped_storage()] = self._header.data_begin + entry.begin
        return tensor


def find_stored(files: Iterable[SafetensorsFile], view: Tensor) -> StoredTensor:
    """Find the place of a view of a tensor of one of the files.

    Raises:
        ValueError: the tensor is a view of none: its values were computed.
    """
    for file in files:
        if (stored := file.find(view)) is not None:
            return stored
    raise ValueError(
        f"a tensor of shape {list(view.shape)} was computed from the files' tensors instead of being a view of one"
    )


def bytes_of(tensor: Tensor) -> memoryview:
    """Return the memory of a contiguous tensor on the CPU."""
    values: Any = tensor.view(-1).view(torch.uint8).numpy()
    return memoryview(values)
