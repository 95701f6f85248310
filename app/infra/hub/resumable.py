"""Files whose download goes on in the middle, also after the process was killed.

The Hub's client resumes within a process only. What is written here is a file of its cache, under its name, so that it finds it
there. Files that the Hub keeps in Xet are left to the client, which fetches their pieces side by side and has no middle.
"""

import fcntl
import hashlib
import os
import re
import threading
from collections.abc import Callable, Collection, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import urlsplit

from ...domain.errors import Cancelled, DownloadFailed

_SUFFIX = ".incomplete"
"""What the client's cache calls unfinished files; its tools remove them on request."""
_AT_ONCE = 4
_LOOK_AGAIN_S = 1.0
"""Seconds between two looks at a file that another process downloads."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ResumableFile:
    """A file of the Hub, and where it goes."""

    name: str
    url: str
    blob: Path
    nbytes: int
    authorized: bool
    """Whether the token may be sent: its address is the Hub's own."""

    @property
    def partial(self) -> Path:
        """The unfinished file."""
        return self.blob.with_name(f"{self.blob.name}{_SUFFIX}")

    @property
    def present_nbytes(self) -> int:
        """Bytes that an earlier download has left."""
        for path in (self.blob, self.partial):
            if path.is_file():
                return min(self.nbytes, path.stat().st_size)
        return 0


def resumable_files(
    repo: str, commit: str, names: Collection[str], *, blobs: Path, endpoint: str | None
) -> list[ResumableFile]:
    """Ask the Hub which files can be fetched from the middle on, and where they are."""
    if not names:
        return []
    with ThreadPoolExecutor(_AT_ONCE, "hub metadata") as threads:
        found = threads.map(lambda name: _located(repo, commit, name, blobs, endpoint), names)
        return [file for file in found if file is not None]


def _located(repo: str, commit: str, name: str, blobs: Path, endpoint: str | None) -> ResumableFile | None:
    from huggingface_hub import constants, get_hf_file_metadata, hf_hub_url  # here, because it takes a while to import

    url = hf_hub_url(repo, name, revision=commit, endpoint=endpoint)
    facts = get_hf_file_metadata(url, endpoint=endpoint)
    by_xet = facts.xet_file_data is not None and not constants.HF_HUB_DISABLE_XET and find_spec("hf_xet") is not None
    if by_xet or not facts.size or not re.fullmatch(r"[\w-]+", facts.etag or ""):
        return None
    return ResumableFile(
        name=name,
        url=facts.location,
        blob=blobs / str(facts.etag),
        nbytes=facts.size,
        authorized=urlsplit(facts.location).netloc == urlsplit(url).netloc,
    )


class ResumableDownloads:
    """Fetches files side by side. Blocks; `closed` ends it at the next piece that arrives."""

    def __init__(self, closed: threading.Event, on_received: Callable[[int], None], bar: type[Any]) -> None:
        """Fetch nothing yet.

        Args:
            closed: set if no more is wanted.
            on_received: receives bytes, also those that are there already; less than 0 if some were in vain.
            bar: progress bar for the client, which shows nothing.
        """
        self._closed = closed
        self._on_received = on_received
        self._bar = bar
        self._failed = threading.Event()

    def run(self, files: Collection[ResumableFile]) -> None:
        """Fetch files, or what is missing of them.

        Raises:
            Cancelled: `closed` was set.
            DownloadFailed: a file is not what the Hub says. Other errors are the client's.
        """
        if not files:
            return
        with ThreadPoolExecutor(_AT_ONCE, "hub download") as threads:
            list(threads.map(self._fetch, files))

    def _fetch(self, file: ResumableFile) -> None:
        try:
            file.blob.parent.mkdir(parents=True, exist_ok=True)
            with self._locked(file) as partial:
                if not file.blob.exists():
                    self._go_on(file, partial)
        except BaseException:
            self._failed.set()  # so that the others end, too
            raise

    def _go_on(self, file: ResumableFile, partial: BinaryIO) -> None:
        from huggingface_hub.file_download import http_get
        from huggingface_hub.utils import build_hf_headers

        there = partial.seek(0, os.SEEK_END)
        if there > file.nbytes:
            there = partial.truncate(partial.seek(0))
        self._on_received(there)
        http_get(
            file.url,
            _Counted(partial, self._count),  # pyright: ignore[reportArgumentType] - has what the client calls
            resume_size=there,
            headers=build_hf_headers(token=None if file.authorized else False),
            expected_size=file.nbytes,
            tqdm_class=self._bar,
        )
        if there and not _is_whole(file):
            file.partial.unlink()
            raise DownloadFailed(f"{file.name} is not what the Hub says, and was removed. Try again.")
        file.partial.replace(file.blob)

    def _count(self, nbytes: int) -> None:
        if self._closed.is_set() or self._failed.is_set():
            raise Cancelled("The download was stopped.")
        self._on_received(nbytes)

    @contextmanager
    def _locked(self, file: ResumableFile) -> Iterator[BinaryIO]:
        """Open the unfinished file, which no other process may write to; wait while one does."""
        while True:
            with file.partial.open("ab", buffering=0) as partial:  # unbuffered: a killed process leaves all that it had
                if _lock(partial) and _is_at(partial, file.partial):
                    try:
                        yield partial
                    finally:
                        if file.blob.exists():  # opened, although another process has finished it
                            file.partial.unlink(missing_ok=True)
                    return
            if self._closed.wait(_LOOK_AGAIN_S):
                raise Cancelled("The download was stopped.")


class _Counted:
    """Writes to a file, and tells how much."""

    def __init__(self, file: BinaryIO, on_written: Callable[[int], None]) -> None:
        self._file = file
        self._on_written = on_written
        self.seek, self.tell = file.seek, file.tell

    def write(self, data: bytes) -> int:
        self._on_written(len(data))
        view = memoryview(data)
        while view:  # unbuffered files may take a part
            view = view[self._file.write(view) :]
        return len(data)

    def truncate(self) -> int:
        """Drop what lies beyond the position: a server has ignored it and begins anew."""
        end = self._file.seek(0, os.SEEK_END)
        kept = self._file.truncate(0)
        self._on_written(kept - end)
        return kept


def _lock(file: BinaryIO) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _is_at(file: BinaryIO, path: Path) -> bool:
    """Tell whether a path still leads to an open file: the process that had it may have moved it."""
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except FileNotFoundError:
        return False


def _is_whole(file: ResumableFile) -> bool:
    """Compare with the SHA-256 that names large files; others are named otherwise, and have the right size."""
    if not re.fullmatch("[0-9a-f]{64}", file.blob.name):
        return True
    with file.partial.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest() == file.blob.name
