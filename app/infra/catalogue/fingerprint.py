"""A catalogue entry together with the files that it was read from, so that a change of them is noticed."""

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Generic, TypeVar

from ...domain.models.adapters import AdapterSpec
from ...domain.models.spec import ModelSpec
from ...domain.models.vaes import VaeSpec

_SETTLED_S = 2.0
Spec = TypeVar("Spec", ModelSpec, AdapterSpec, VaeSpec)


@dataclass(frozen=True, slots=True, kw_only=True)
class CatalogueEntry(Generic[Spec]):
    """An asset as its files described it."""

    spec: Spec
    watched: Sequence[Path]
    """Files and folders whose change may change the entry, those that do not exist included."""
    stamp: str
    """Digest of the watched files, taken before they were read."""

    @property
    def up_to_date(self) -> bool:
        """Whether none of the files has changed since; costs a stat for each."""
        return digest(*stamps(self.watched)) == self.stamp


def stamps(paths: Iterable[Path]) -> list[str]:
    """Make a line for each file that changes if the file does; nothing is read."""
    return [f"{path}:{_stamp(path)}" for path in paths]


def digest(*lines: str) -> str:
    """Make sixteen letters that change if one of the lines does."""
    return blake2b("\n".join(lines).encode("utf-8", "surrogateescape"), digest_size=8).hexdigest()


def settled_stamp(folder: Path) -> str | None:
    """Return a text that changes with the names in a folder; None if the folder changed within the resolution of its time.

    Time stamps advance in steps of some milliseconds, on some file systems of two seconds.
    """
    try:
        lately = time.time() - folder.stat().st_mtime < _SETTLED_S
    except OSError:
        lately = False
    return None if lately else _stamp(folder)


def _stamp(path: Path) -> str:
    """Return a line that changes with a file. It includes permissions: a file may have become readable."""
    try:
        stat = path.stat()
    except OSError:
        return "-"
    return f"{stat.st_dev}.{stat.st_ino}.{stat.st_size}.{stat.st_mtime_ns}.{stat.st_mode}"
