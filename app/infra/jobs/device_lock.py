"""One engine for each device among the processes that share a folder of jobs."""

import socket
from pathlib import Path
from typing import IO

from ...domain.errors import EngineFailed
from .process_mark import holder, locked, note_holder


class DeviceLock:
    """Held by the process whose engine has the device, until it ends, also by kill -9."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._file: IO[str] | None = None

    def take(self, device: str) -> None:
        """Take a device of this machine. Blocks, for microseconds.

        Raises:
            EngineFailed: another process has it.
        """
        self._folder.mkdir(parents=True, exist_ok=True)
        path = self._folder / f"{socket.gethostname()}-{device.replace(':', '-')}"
        self._file = locked(path)
        if self._file is None:
            raise EngineFailed(
                f"The device {device} is in use by another server with the same folder of jobs (process {holder(path)}). "
                "It would need the memory twice. This server answers for jobs, and makes no images: use "
                "the other one, or give this one a device of its own (device.name) or another folder (jobs.directory)."
            )
        note_holder(self._file)

    def free(self) -> None:
        """Let other processes have the device."""
        if self._file is not None:
            self._file.close()
            self._file = None
