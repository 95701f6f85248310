"""Reads the header of a file that is added to models, and says why it cannot be used."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

from ....domain.families.reading import CheckpointFile, NotServable
from ...weights.config_files import config_folder, reader_beside
from ...weights.safetensors_header import BrokenFile, Header, read_header
from ..fingerprint import digest, stamps
from ..scan import Candidate, unfinished_marks
from ..unreadable import PICKLE_REASON, printable, refuse_unfinished

_Reading = TypeVar("_Reading")
_CONFIGS = ("adapter_config.json", "config.json")


@dataclass(frozen=True, slots=True, kw_only=True)
class FileReading(Generic[_Reading]):
    """What was found out about a file."""

    reading: _Reading | None
    unusable: str | None
    nbytes: int
    numbers: int
    """Numbers in its tensors."""
    version: str
    watched: tuple[Path, ...]


def read_addition(candidate: Candidate, read: Callable[[CheckpointFile], _Reading]) -> FileReading[_Reading]:
    """Have the families read a file's header. Never raises for the content of files.

    Args:
        candidate: the file.
        read: asks the families; raises NotServable.
    """
    watched = (
        candidate.path,
        *(config_folder(candidate.path) / name for name in _CONFIGS),
        *unfinished_marks(candidate.path),
    )
    version = digest(*stamps(watched))  # before reading, so that a change during the reading is noticed the next time
    reading, unusable, numbers = None, None, 0
    try:
        refuse_unfinished(candidate.path)
        if candidate.is_pickle:
            raise NotServable(PICKLE_REASON)
        header = read_header(candidate.path)
        numbers = sum(tensor.elements for tensor in header.tensors.values())
        reading = read(_checkpoint_file(candidate, header))
    except (NotServable, BrokenFile) as error:
        unusable = printable(str(error))
    return FileReading(
        reading=reading,
        unusable=unusable,
        nbytes=_nbytes(candidate.path),
        numbers=numbers,
        version=version,
        watched=watched,
    )


def _checkpoint_file(candidate: Candidate, header: Header) -> CheckpointFile:
    return CheckpointFile(
        shapes=header.shapes,
        metadata=header.metadata,
        name=candidate.stem,
        read_config=reader_beside(candidate.path),
        odd=header.odd,
    )


def _nbytes(file: Path) -> int:
    try:
        return file.stat().st_size
    except OSError:
        return 0
