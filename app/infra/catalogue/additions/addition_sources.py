"""Finds the files of adapters, VAEs and upscalers, and decides which gets which name. Worker threads only."""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Generic, Literal

from ....domain.models.assets import AssetKind
from ....logs import get_logger
from ..fingerprint import CatalogueEntry, Spec, settled_stamp
from ..names import Claim, Names
from ..scan import FILES_ALONE, Candidate, SearchedFolder, find_candidates, searched_folders, told_apart

_log = get_logger(__name__)
_GENERIC_STEMS = frozenset({"adapter_model", "pytorch_lora_weights", "diffusion_pytorch_model"})
"""Stems that PEFT and diffusers give every file; the name of the folder says more."""
Describe = Callable[[Candidate, bool], CatalogueEntry[Spec]]
"""Describes a file; the second argument is whether it ships with the package."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AdditionFolder:
    """Where files of one kind lie inside a models folder."""

    kind: AssetKind | Literal["upscaler"]
    names: tuple[str, ...]
    """Names of the folder in lower case, the usual one first; other programs use the others."""

    def inside(self, directory: Path) -> list[Path]:
        """List the folders of this kind in a models folder, the usual one first."""
        try:
            with os.scandir(directory) as entries:
                found = [entry for entry in entries if entry.name.lower() in self.names and entry.is_dir()]
        except OSError:
            return []
        ordered = sorted(found, key=lambda entry: (self.names.index(entry.name.lower()), entry.name))
        return [Path(entry.path) for entry in ordered]


class AdditionSources(Generic[Spec]):
    """Reads names only; a file is read by its claim. If two files claim one name, the one in the earlier folder gets it."""

    def __init__(
        self, folder: AdditionFolder, directories: Sequence[Path], builtin: Path | None, describe: Describe[Spec]
    ) -> None:
        self._folder = folder
        self._directories = tuple(directories)
        self._builtin = builtin
        self._describe = describe
        self._logged: set[tuple[str, str]] = set()

    def names(self) -> Names[Spec]:
        """Read the folders and decide which file gets which name."""
        watched = [(directory, settled_stamp(directory)) for directory in self._directories]
        folders = [
            (folder, settled_stamp(folder.path), directory)
            for directory in self._directories
            for place in self._folder.inside(directory)
            for folder in searched_folders(place, FILES_ALONE)
        ]
        winners: dict[str, Claim[Spec]] = {}
        spellings: dict[str, dict[str, None]] = {}
        for candidate, directory in _found((folder, directory) for folder, _, directory in folders):
            claim = self._claim(candidate, builtin=directory == self._builtin)
            winner = winners.setdefault(claim.name, claim)
            if winner is not claim:
                winners[claim.name] = replace(winner, hides=(*winner.hides, claim.title))
                self._log_hidden(claim, winner)
            for spelling in _spellings(candidate):
                spellings.setdefault(spelling.casefold(), {})[claim.name] = None
        return Names(
            claims=winners,
            folders=(*(path for path, _ in watched), *(folder.path for folder, _, _ in folders)),
            stamps=(*(stamp for _, stamp in watched), *(stamp for _, stamp, _ in folders)),
            spellings={spelling: tuple(names) for spelling, names in spellings.items()},
        )

    def may_have_changed(self, names: Names[Spec]) -> bool:
        """Tell whether the folders may hold other names than these; costs one stat a folder."""
        return None in names.stamps or names.stamps != tuple(map(settled_stamp, names.folders))

    def _claim(self, candidate: Candidate, *, builtin: bool) -> Claim[Spec]:
        return Claim(
            name=candidate.name,
            origin=str(candidate.path),
            title=f"{candidate.path.name!r} in the folder {candidate.path.parent.name!r}",
            describe=lambda: self._describe(candidate, builtin),
        )

    def _log_hidden(self, hidden: Claim[Spec], by: Claim[Spec]) -> None:
        if (hidden.origin, by.origin) in self._logged:
            return
        self._logged.add((hidden.origin, by.origin))
        facts: Mapping[str, str] = {self._folder.kind: hidden.name}
        _log.warning(f"{self._folder.kind}_hidden", **facts, hidden=hidden.origin, by=by.origin)


def _found(folders: Iterator[tuple[SearchedFolder, Path]]) -> Iterator[tuple[Candidate, Path]]:
    """Yield the candidates with their models folder, the strongest first."""
    found = [(candidate, directory) for folder, directory in folders for candidate in _candidates(folder)]
    named = told_apart([candidate for candidate, _ in found])
    return zip(named, (directory for _, directory in found), strict=True)


def _candidates(folder: SearchedFolder) -> Sequence[Candidate]:
    """List a folder's candidates; one of that very name before those whose names were made safe."""
    try:
        return sorted(find_candidates(folder, FILES_ALONE), key=lambda candidate: candidate.name != candidate.stem)
    except OSError as error:
        _log.warning("models_directory_unreadable", directory=str(folder.path), reason=error.strerror)
        return ()


def _spellings(candidate: Candidate) -> Iterator[str]:
    """Yield what people write for a file: its name in a URL, its stem, the file itself, the folder of a nameless one."""
    yield candidate.name
    yield candidate.stem
    yield candidate.path.name
    yield "/".join((*candidate.subfolders, candidate.stem))
    if candidate.stem in _GENERIC_STEMS and candidate.subfolders:
        yield candidate.subfolders[-1]
