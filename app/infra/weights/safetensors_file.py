"""The tensors of a safetensors file without reading it: views of the mapped file, which know where they lie in it."""

import mmap
import os
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from .hold import hold, is_held, let_go
from .safetensors_header import BrokenFile, read_header

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


class MappedFile:
    """An open file. Its tensors are valid until `close`, and touch no byte of it before they are read."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._header = read_header(path)
        self.descriptor = os.open(path, os.O_RDONLY)
        size = os.fstat(self.descriptor).st_size
        # ACCESS_COPY, because torch wants a writable buffer; nothing is ever written to it.
        self._whole = torch.frombuffer(mmap.mmap(self.descriptor, size, access=mmap.ACCESS_COPY), dtype=torch.uint8)
        ends = [tensor.end for tensor in self._header.tensors.values()]
        self._data_begin = size - max(ends, default=0)
        self._tensors: dict[str, Tensor] = {}

    def tensors(self) -> dict[str, Tensor]:
        """Every tensor by its name in the file.

        Raises:
            BrokenFile: one has a dtype that torch does not have.
        """
        if not self._tensors:
            self._tensors = {name: self._tensor(name) for name in self._header.tensors}
        return self._tensors

    def place_of(self, tensor: Tensor) -> "Place | None":
        """Where the bytes of a dense tensor begin in the file; None where they are not in it."""
        offset = tensor.data_ptr() - self._whole.data_ptr()
        return Place(self, offset) if 0 <= offset <= len(self._whole) - tensor.nbytes else None

    def hold(self) -> None:
        """Keep it from being cut short until it is closed, where the system can."""
        hold(self.descriptor, self.path)

    @property
    def is_held(self) -> bool:
        """Whether its tensors may be read through the mapping without fear."""
        return is_held(self.descriptor)

    def close(self) -> None:
        """Close the file; the mapping goes with the last tensor."""
        let_go(self.descriptor)
        os.close(self.descriptor)

    def _tensor(self, name: str) -> Tensor:
        entry = self._header.tensors[name]
        dtype = _DTYPES.get(entry.dtype)
        if dtype is None:
            raise BrokenFile(f"its tensor {name} has dtype {entry.dtype}, which cannot be used here.")
        begin = self._data_begin + entry.begin
        raw = self._whole[begin : begin + entry.nbytes]
        if begin % dtype.itemsize:
            raw = raw.clone()  # a file with an odd header: torch cannot view unaligned bytes
        return raw.view(dtype).view(entry.shape)


class Place:
    """A place in an open file, which moves on with what is read from it."""

    def __init__(self, file: MappedFile, offset: int) -> None:
        self.file = file
        self._offset = offset

    def read_into(self, room: memoryview) -> None:
        """Fill bytes with those that come next, without the mapping: network disks map slowly.

        Raises:
            OSError: the file ends before all are there.
        """
        while room:
            count = os.preadv(self.file.descriptor, [room], self._offset)
            if count == 0:
                raise OSError(f"{self.file.path.name} ended early while it was being read")
            room, self._offset = room[count:], self._offset + count


def bytes_of(tensor: Tensor) -> memoryview:
    """The memory of a contiguous tensor on the CPU."""
    values: Any = tensor.view(-1).view(torch.uint8).numpy()
    return memoryview(values)
