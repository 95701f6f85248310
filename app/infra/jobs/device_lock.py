"""One engine for each device among the processes that share a folder of jobs."""

import socket
from pathlib import Path
from typing import IO

from ...domain.errors import EngineFailed
from .process_mark import holder, locked, note_holder


class DeviceLock:
    """Held by the process whose engines have the devices, until it ends, also by kill -9. Any thread."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._files: list[IO[str]] = []

    def take(self, device: str) -> None:
        """Take a device of this machine. Blocks, for microseconds.

        Raises:
            EngineFailed: another process has it.
        """
        self._folder.mkdir(parents=True, exist_ok=True)
        # `cuda` is `cuda:0`, and a process with several CPU devices has the one that others call `cpu`.
        path = self._folder / f"{socket.gethostname()}-{device.removesuffix(':0').replace(':', '-')}"
        file = locked(path)
        if file is None:
            raise EngineFailed(
                f"The device {device} is in use by another server with the same folder of jobs (process {holder(path)}). "
                "It would need the memory twice. This server answers for jobs, and makes no images: use "
                "the other one, or give this one devices of its own (device.names) or another folder (jobs.directory)."
            )
        note_holder(file)
        self._files.append(file)

    def free(self) -> None:
        """Let other processes have the devices."""
        while self._files:
            self._files.pop().close()
