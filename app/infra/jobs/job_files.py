"""Files of jobs, named by their digests: the pictures that clients send, and the images that are made."""

import hashlib
import os
import shutil
import uuid
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from ...domain.requests.pictures.picture import FileContent


class JobFiles:
    """A folder for each job. All methods block: call them in a worker thread.

    Each job has a folder of its own, so that dropping one never races with keeping another that has the same picture.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def prepare(self) -> None:
        """Make the folder.

        Raises:
            OSError: it cannot be written.
        """
        self._folder.mkdir(
            parents=True, exist_ok=True, mode=0o700
        )  # prompts and pictures are for the server's user alone
        probe = self._folder / f".{uuid.uuid4().hex}"
        probe.touch()
        probe.unlink()

    def free_nbytes(self) -> int:
        """Return the bytes that are free on the disk."""
        return shutil.disk_usage(self._folder).free

    def put(self, job_id: str, files: Sequence[FileContent]) -> list[str]:
        """Write files of a job, so that they outlive a crash, or none of them.

        Returns:
            Their names, which are their SHA-256.

        Raises:
            OSError: such as a full disk.
        """
        if not files:
            return []
        folder = self._of(job_id)
        folder.mkdir(parents=True, exist_ok=True)
        written = list[Path]()
        try:
            for data in files:
                path = folder / _digest(data)
                if not path.exists():
                    written.append(path)
                    _write(path, data)
            _flush_folder(folder)
            _flush_folder(folder.parent)
        except OSError:
            self._remove(written)
            raise
        return [_digest(data) for data in files]

    def read(self, job_id: str, names: Iterable[str]) -> list[bytes] | None:
        """Read files of a job; None if one of them is gone, or is not what was written."""
        files = list[bytes]()
        for name in names:
            try:
                data = (self._of(job_id) / name).read_bytes()
            except FileNotFoundError:
                return None
            if _digest(data) != name:
                return None
            files.append(data)
        return files

    def drop(self, job_id: str, names: Iterable[str] | None = None) -> None:
        """Remove files of a job, or all of them. One that cannot be removed stays until the job is dropped, or the next start."""
        if names is None:
            shutil.rmtree(self._of(job_id), ignore_errors=True)
        else:
            self._remove(self._of(job_id) / name for name in names)

    def jobs(self, older_than: float) -> Iterator[str]:
        """Return the ids of the jobs that have files, as far as their folders have not changed since a moment."""
        for folder in self._folder.glob("??/*"):
            try:
                if folder.stat().st_mtime < older_than:
                    yield folder.name
            except FileNotFoundError:
                continue

    def _of(self, job_id: str) -> Path:
        return self._folder / job_id[:2] / job_id

    @staticmethod
    def _remove(paths: Iterable[Path]) -> None:
        for path in paths:
            with suppress(OSError):
                path.unlink()


def _digest(data: FileContent) -> str:
    return hashlib.sha256(data).hexdigest()


def _write(path: Path, data: FileContent) -> None:
    """Write a file that is there whole or not at all."""
    unfinished = path.with_suffix(f".{uuid.uuid4().hex}")
    try:
        with unfinished.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        unfinished.replace(path)
    except OSError:
        unfinished.unlink(missing_ok=True)
        raise


def _flush_folder(folder: Path) -> None:
    """Have the names in a folder outlive a loss of power."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
