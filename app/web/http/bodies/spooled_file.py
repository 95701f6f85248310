"""A file that arrives in pieces: in memory up to a megabyte, then on disk, in the system's temporary folder (`TMPDIR`).

The file on disk has no name, so it is gone when nothing refers to it any more, and with the process, however that ends.
"""

import asyncio
import mmap
import tempfile
from typing import IO

from ....domain.errors import StorageUnavailable
from ....domain.requests.pictures.picture import FileContent

_IN_MEMORY_NBYTES = 1_000_000
"""Files up to this size are never written to disk."""
_AT_ONCE_NBYTES = 262_144
"""Bytes that a thread writes at once."""


class SpooledFile:
    """One file. Event loop only; the disk is used in threads."""

    def __init__(self) -> None:
        self._pending = bytearray()
        self._file: IO[bytes] | None = None
        self.nbytes = 0

    async def write(self, data: bytes | bytearray) -> None:
        """Append a piece.

        Raises:
            StorageUnavailable: the disk is full.
        """
        before = len(self._pending)
        self._pending += data
        self.nbytes += len(self._pending) - before
        if self.nbytes > _IN_MEMORY_NBYTES and len(self._pending) >= _AT_ONCE_NBYTES:
            await self._flush()

    async def content(self) -> FileContent:
        """Return the whole file, as a view of the disk's if it is there; nothing may be written afterwards.

        Raises:
            StorageUnavailable: the disk is full.
        """
        if self._file is None:
            return bytes(self._pending)
        if self._pending:
            await self._flush()
        return await asyncio.to_thread(_view_of, self._file)

    def close(self) -> None:
        """Let go of the file; what `content` returned stays."""
        if self._file is not None:
            self._file.close()

    async def _flush(self) -> None:
        pending, self._pending = self._pending, bytearray()
        try:
            await asyncio.to_thread(self._append, pending)
        except OSError as error:
            raise StorageUnavailable(
                f"An upload of {self.nbytes} bytes so far could not be written to the temporary folder (TMPDIR): {error}."
            ) from error

    def _append(self, data: bytearray) -> None:
        if self._file is None:
            self._file = tempfile.TemporaryFile(buffering=0)  # noqa: SIM115 - `close` closes it
        self._file.write(data)


def _view_of(file: IO[bytes]) -> memoryview:
    # The view keeps the file, and no memory of its own: the kernel drops and reads its pages as it likes.
    return memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
