"""A lock that a process holds for as long as it lives: the others see at once that it has ended, also by kill -9."""

import fcntl
import os
import socket
import uuid
from collections.abc import Iterable
from pathlib import Path
from typing import IO


class ProcessMark:
    """The mark of one process in a folder that the processes of a machine share. Blocks, for microseconds."""

    def __init__(self, folder: Path, name: str | None = None) -> None:
        """Make a mark that is not set yet.

        Args:
            folder: of all marks.
            name: of the process; one that no other has if absent.
        """
        self._folder = folder
        # Locks of other machines cannot be seen on every network file system.
        self.name = name or f"{_host()}-{uuid.uuid4().hex[:16]}"
        self._file: IO[str] | None = None

    def set(self) -> None:
        """Set the mark.

        Raises:
            OSError: the folder cannot be written.
        """
        self._folder.mkdir(parents=True, exist_ok=True)
        path = self._folder / self.name
        # Another process may look at the mark before it is locked: it holds the lock for a moment, and may remove the file.
        while self._file is None or not _is_at(self._file, path):
            self.close()
            self._file = path.open("a+")
            fcntl.flock(self._file, fcntl.LOCK_EX)

    def close(self) -> None:
        """Let go of the mark, as the kernel does when the process ends."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def remove(self) -> None:
        """Remove the mark."""
        if self._file is not None:
            (self._folder / self.name).unlink(missing_ok=True)
        self.close()

    def ended(self) -> list[str]:
        """Return the names of processes of this machine that have ended without removing their marks."""
        others = (path for path in self._folder.glob(f"{_host()}-*") if path.name != self.name)
        return [path.name for path in others if self._is_free(path)]

    def forget(self, names: Iterable[str]) -> None:
        """Remove the marks of processes that have ended."""
        for name in names:
            path = self._folder / name
            file = locked(path)
            if file is not None:  # otherwise it was about to be set
                path.unlink(missing_ok=True)
                file.close()

    @staticmethod
    def _is_free(path: Path) -> bool:
        file = locked(path)
        if file is None:
            return False
        file.close()
        return True


def locked(path: Path) -> IO[str] | None:
    """Open a file that no other process may lock until it is closed; None if another one has locked it."""
    file = path.open("a+")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        return None
    return file


def holder(path: Path) -> str:
    """Return the id of the process that has noted itself in a locked file."""
    return path.read_text().strip() or "unknown"


def note_holder(file: IO[str]) -> None:
    """Note this process in a file that it has locked."""
    file.truncate(0)
    file.write(str(os.getpid()))
    file.flush()


def _is_at(file: IO[str], path: Path) -> bool:
    """Tell whether a path still leads to an open file."""
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except FileNotFoundError:
        return False


def _host() -> str:
    return "".join(char for char in socket.gethostname() if char.isalnum() or char == ".")[:32] or "host"
