"""Finds presets: sidecars without weights beside them, which name a model as their base."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from ..scan import Candidate, SearchedFolder, candidate_of, find_lone_sidecars

_BASE = re.compile(rb"^\s*[\"']?base[\"']?\s*=", re.MULTILINE)
_MAX_NBYTES = 100_000
"""Sidecars are short; a large file is something else."""


def lone_sidecars(folder: SearchedFolder, candidates: Iterable[Candidate]) -> Sequence[Path]:
    """List the sidecars of a folder without weights beside them; none if the folder cannot be read."""
    try:
        return find_lone_sidecars(folder, candidates)
    except OSError:
        return ()


def presets(folder: SearchedFolder, sidecars: Iterable[Path]) -> list[Candidate]:
    """Make candidates of the lone sidecars that name a base; the others belong to something else."""
    return [replace(candidate_of(path), subfolders=folder.subfolders) for path in sidecars if _names_base(path)]


def _names_base(file: Path) -> bool:
    """Look for the key alone, because a file with a mistake elsewhere is a preset too, and says so in the list."""
    try:
        return file.stat().st_size <= _MAX_NBYTES and _BASE.search(file.read_bytes()) is not None
    except OSError:
        return False
