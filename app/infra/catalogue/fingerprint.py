"""A catalogue entry together with the files that it was read from, so that a change of them is noticed."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path

from ...domain.models.spec import ModelSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class CatalogueEntry:
    """What is known of a model, and since when."""

    spec: ModelSpec
    watched: Sequence[Path]
    """Every file and folder whose change may change the entry, those that do not exist included."""
    stamp: str
    """Of the watched files, taken before they were read."""

    @property
    def up_to_date(self) -> bool:
        """Whether none of the files has changed since. Costs a stat each."""
        return digest(*stamps(self.watched)) == self.stamp


def stamps(paths: Iterable[Path]) -> list[str]:
    """A line for each file that changes whenever the file does; nothing is read."""
    return [f"{path}:{_stamp(path)}" for path in paths]


def digest(*lines: str) -> str:
    """Sixteen letters that change whenever one of the lines does."""
    return blake2b("\n".join(lines).encode("utf-8", "surrogateescape"), digest_size=8).hexdigest()


def _stamp(path: Path) -> str:
    """The permissions count too: a file that nobody could read may have become readable."""
    try:
        stat = path.stat()
    except OSError:
        return "-"
    return f"{stat.st_dev}.{stat.st_ino}.{stat.st_size}.{stat.st_mtime_ns}.{stat.st_mode}"
