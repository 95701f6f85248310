"""Finds what may be a model, an adapter or a VAE in a folder and its subfolders, by names alone."""

import hashlib
import os
import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from ...domain.models.spec import ModelName
from ..weights.weight_files import PICKLES

_SAFETENSORS = ".safetensors"
_SIDECAR = ".toml"
_UNFINISHED = (".aria2", ".part", ".crdownload", ".partial", ".incomplete", ".download", ".opdownload", ".!ut")
"""What aria2, Firefox, Chromium, wget wrappers, huggingface_hub, Safari, Opera and torrent clients append to names."""
_MAX_NAME_CHARS = 128
_BETWEEN_FOLDERS = "--"
NO_CHECKPOINTS = frozenset({
    "clip", "clip_vision", "configs", "controlnet", "diffusion_models", "embeddings", "esrgan", "gligen", "hypernetworks",
    "ipadapter", "lora", "loras", "lycoris", "style_models", "text_encoders", "textual_inversion", "unet", "upscale_models",
    "upscalers", "vae", "vae_approx",
})  # fmt: skip
"""Subfolders that other programs keep parts of models in, in lower case; they are not searched."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ScanRule:
    """What is looked for."""

    folders: bool
    """Whether folders can be models, and subfolders that other programs keep parts of models in are left out."""
    max_depth: int
    """Deepest subfolder that is searched."""


MODELS = ScanRule(folders=True, max_depth=4)
"""Not deep, so that a folder of something else costs little."""
FILES_ALONE = ScanRule(folders=False, max_depth=32)
"""Adapters and VAEs: their folder holds nothing else."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A file or folder that may be a model, an adapter or a VAE."""

    path: Path
    is_folder: bool
    subfolders: tuple[str, ...] = ()
    """Folders between the models folder and the candidate."""
    mark: str = ""
    """End of the name that tells it from another candidate's."""

    @property
    def stem(self) -> str:
        """The file name without suffix, or the folder's name: what its sidecar is called."""
        return self.path.name if self.is_folder else self.path.stem

    @property
    def name(self) -> ModelName:
        """The subfolders and the stem, as far as they can stand in a path of a URL; other characters become `-`."""
        parts = (*self.subfolders, self.stem)
        name = _BETWEEN_FOLDERS.join(_url_safe(part) for part in parts)[: _MAX_NAME_CHARS - len(self.mark)]
        return ModelName(f"{name}{self.mark}")

    @property
    def identity(self) -> tuple[str, ...]:
        """Equal for candidates of which one hides the other: files of one stem that differ in their suffix."""
        return (*self.subfolders, self.stem)

    def marked(self) -> "Candidate":
        """Return the candidate with a checksum of its stem in its name."""
        checksum = hashlib.blake2b(os.fsencode("/".join(self.identity)), digest_size=4).hexdigest()
        return replace(self, mark=f"-{checksum}")

    @property
    def sidecar(self) -> Path:
        """Where a person may say what it is."""
        return self.path.with_name(f"{self.stem}.toml")

    @property
    def is_preset(self) -> bool:
        """Whether it is a sidecar alone, which names the model that it is a preset of."""
        return not self.is_folder and self.path.suffix.lower() == _SIDECAR

    @property
    def is_pickle(self) -> bool:
        """By its suffix; what is a pickle under another name shows when its header is read."""
        return not self.is_folder and self.path.suffix.lower() in PICKLES


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchedFolder:
    """A folder whose entries are looked at."""

    path: Path
    subfolders: tuple[str, ...] = ()


def searched_folders(directory: Path, rule: ScanRule = MODELS) -> Iterator[SearchedFolder]:
    """Yield a folder and its subfolders, each once even if links lead in a circle; those that are models are left out.

    Each is yielded before its entries are read, and one that cannot be read has no subfolders.
    """
    seen: set[tuple[int, int]] = set()
    waiting = [SearchedFolder(path=directory)]
    while waiting:
        folder = waiting.pop()
        try:
            stat = folder.path.stat()
        except OSError:
            stat = None
        if stat is not None and (stat.st_dev, stat.st_ino) in seen:
            continue
        yield folder
        if stat is not None:
            seen.add((stat.st_dev, stat.st_ino))
            waiting += reversed(_subfolders(folder, rule))


def find_candidates(folder: SearchedFolder, rule: ScanRule = MODELS) -> list[Candidate]:
    """Find everything in a folder that looks right, in alphabetical order, safetensors files before their namesakes.

    Raises:
        OSError: the folder cannot be read.
    """
    with os.scandir(folder.path) as entries:
        paths = [Path(entry.path) for entry in entries if _looks_right(entry, rule)]
    found = [replace(candidate_of(path), subfolders=folder.subfolders) for path in paths]
    return sorted(found, key=lambda candidate: (candidate.stem, _rank(candidate), candidate.path.name))


def find_lone_sidecars(folder: SearchedFolder, candidates: Iterable[Candidate]) -> list[Path]:
    """List the sidecars in a folder that lie beside no candidate: presets, or files of something else.

    Raises:
        OSError: the folder cannot be read.
    """
    taken = {candidate.sidecar for candidate in candidates}
    with os.scandir(folder.path) as entries:
        named = [Path(entry.path) for entry in entries if _is_plain(entry, _SIDECAR)]
    return sorted(path for path in named if path not in taken)


def told_apart(candidates: Iterable[Candidate]) -> Iterator[Candidate]:
    """Mark candidates whose names were made equal although their files are called differently."""
    names: dict[str, tuple[str, ...]] = {}
    for candidate in candidates:
        is_taken = names.setdefault(candidate.name, candidate.identity) != candidate.identity
        yield candidate.marked() if is_taken else candidate


def _is_plain(entry: os.DirEntry[str], suffix: str) -> bool:
    return entry.name.lower().endswith(suffix) and not entry.name.startswith(".") and entry.is_file()


def _subfolders(folder: SearchedFolder, rule: ScanRule) -> list[SearchedFolder]:
    if len(folder.subfolders) == rule.max_depth:
        return []
    try:
        with os.scandir(folder.path) as entries:
            names = sorted(entry.name for entry in entries if _may_hold(entry, rule))
    except OSError:
        return []
    return [SearchedFolder(path=folder.path / name, subfolders=(*folder.subfolders, name)) for name in names]


def _may_hold(entry: os.DirEntry[str], rule: ScanRule) -> bool:
    if not rule.folders:
        return not entry.name.startswith(".") and entry.is_dir()
    name = entry.name.lower()
    if name.startswith(".") or name.endswith((".config", _SAFETENSORS)) or name in NO_CHECKPOINTS:
        return False
    return entry.is_dir() and not _looks_like_a_model(entry)


def candidate_of(path: Path) -> Candidate:
    """Return the candidate of one path, a file or a folder."""
    return Candidate(path=path, is_folder=path.suffix.lower() != _SAFETENSORS and path.is_dir())


def unfinished_marks(path: Path) -> tuple[Path, ...]:
    """List the files that downloaders keep beside a file until it is whole, whether they exist or not."""
    return tuple(path.with_name(f"{path.name}{suffix}") for suffix in _UNFINISHED)


def _looks_right(entry: os.DirEntry[str], rule: ScanRule) -> bool:
    if rule.folders:
        return _looks_like_a_model(entry)
    suffix = Path(entry.name).suffix.lower()
    return (suffix == _SAFETENSORS or suffix in PICKLES) and not entry.name.startswith(".") and not entry.is_dir()


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
    """Return a name of letters and digits of any script, `.`, `_` and `-`, always the same for a file.

    Composed and decomposed letters are one; a checksum stands for a name without letters.
    """
    plain = "".join(character if _stays(character) else " " for character in unicodedata.normalize("NFC", stem))
    plain = "-".join(plain.split())[:_MAX_NAME_CHARS].strip("-._")
    return plain or f"model-{hashlib.blake2b(os.fsencode(stem), digest_size=4).hexdigest()}"


def _stays(character: str) -> bool:
    return character in "._-" or unicodedata.category(character)[0] in "LMN"
