"""Finds what may be a model in a models folder, by names alone."""

import hashlib
import os
import re
from dataclasses import dataclass
from pathlib import Path

from ...domain.models.spec import MODEL_NAME_PATTERN, ModelName
from ..weights.weight_files import PICKLES

_SAFETENSORS = ".safetensors"
_MAX_NAME_CHARS = 128


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A file or folder that may be a model."""

    path: Path
    is_folder: bool

    @property
    def stem(self) -> str:
        """The file name without suffix, or the folder's name: what its sidecar is called."""
        return self.path.name if self.is_folder else self.path.stem

    @property
    def name(self) -> ModelName:
        """The stem, as far as it can stand in a URL; other characters become `-`."""
        return ModelName(_url_safe(self.stem))

    @property
    def sidecar(self) -> Path:
        """Where a person may say what it is."""
        return self.path.with_name(f"{self.stem}.toml")

    @property
    def is_pickle(self) -> bool:
        """By its suffix; what is a pickle under another name shows when its header is read."""
        return not self.is_folder and self.path.suffix.lower() in PICKLES


def find_candidates(directory: Path) -> list[Candidate]:
    """Find everything in a folder that looks like a model, in alphabetical order, safetensors files before their namesakes.

    Raises:
        OSError: the folder cannot be read.
    """
    with os.scandir(directory) as entries:
        found = [candidate_of(Path(entry.path)) for entry in entries if _looks_like_a_model(entry)]
    return sorted(found, key=lambda candidate: (candidate.stem, _rank(candidate), candidate.path.name))


def candidate_of(path: Path) -> Candidate:
    """Return the candidate of one path, a file or a folder."""
    return Candidate(path=path, is_folder=path.suffix.lower() != _SAFETENSORS and path.is_dir())


def _looks_like_a_model(entry: os.DirEntry[str]) -> bool:
    path = Path(entry.path)
    suffix = path.suffix.lower()
    if entry.name.startswith(".") or suffix == ".config":
        return False
    if suffix == _SAFETENSORS:
        return True
    if entry.is_dir():
        return (path / "model_index.json").exists() or (path / "unet").is_dir()
    return suffix in PICKLES


def _rank(candidate: Candidate) -> int:
    return 2 if candidate.is_pickle else int(candidate.is_folder)


def _url_safe(stem: str) -> str:
    """Return a name without unsafe characters, always the same for a file; a checksum if no letter is left."""
    if re.fullmatch(MODEL_NAME_PATTERN, stem):
        return stem
    plain = re.sub(r"[^A-Za-z0-9._-]+", "-", stem)[:_MAX_NAME_CHARS].strip("-._")
    return plain or f"model-{hashlib.blake2b(os.fsencode(stem), digest_size=4).hexdigest()}"
