"""The textual inversion embeddings in `embeddings/` of each models folder, at any depth."""

import asyncio
import hashlib
import os
import threading
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from ....domain.families.reading import CheckpointFile, NotServable
from ....domain.families.registry import read_embedding
from ....domain.models.embeddings import MAX_NBYTES, EmbeddingName, EmbeddingSpec
from ....domain.units import format_bytes
from ...weights.safetensors_header import BrokenFile, read_header
from ...weights.weight_files import PICKLES
from ..fingerprint import digest, stamps

_FOLDERS = frozenset({"embeddings", "textual_inversion"})
"""In lower case: ours and the web UI's first, then InvokeAI's and kohya's."""
_SUFFIX = ".safetensors"
_MAX_FILES = 5000
"""Files that are looked at, so that a folder of something else costs little."""


class LocalEmbeddings:
    """Fulfils the `EmbeddingCatalogue` port. A file is read again only if it has changed."""

    def __init__(self, directories: Sequence[Path], builtin: Path | None = None) -> None:
        """Begin without reading a file.

        Args:
            directories: the models folders; the earlier one wins a name.
            builtin: the one of them that ships with the package.
        """
        self._directories = tuple(directories)
        self._builtin = builtin
        self._known: dict[Path, tuple[str, EmbeddingSpec]] = {}
        self._lock = threading.Lock()

    async def list(self) -> Sequence[EmbeddingSpec]:
        """List all embeddings, after a look at their files in a worker thread."""
        return await asyncio.to_thread(self._look)

    def _look(self) -> Sequence[EmbeddingSpec]:
        with self._lock:
            known, by_name = self._known, dict[str, EmbeddingSpec]()
            self._known = {}
            for directory in self._directories:
                for path in _files(directory):
                    stamp = digest(*stamps([path]))
                    before = known.get(path)
                    spec = before[1] if before is not None and before[0] == stamp else describe_embedding(path)
                    self._known[path] = (stamp, spec)
                    by_name.setdefault(spec.name.lower(), replace(spec, builtin=directory == self._builtin))
            return [by_name[name] for name in sorted(by_name)]


def describe_embedding(path: Path) -> EmbeddingSpec:
    """Describe a file; one that cannot be used has the reason. Reads it whole, which are kilobytes, for its digest."""
    name = EmbeddingName(_printable(unicodedata.normalize("NFC", path.stem)))
    spec = EmbeddingSpec(name=name, path=path, nbytes=0, sha256="", reading=None)
    try:
        spec = replace(spec, nbytes=path.stat().st_size)
        if path.suffix.lower() in PICKLES:
            raise NotServable(
                "it is a pickle, which can run code and is never opened. Look for a .safetensors version."
            )
        if spec.nbytes > MAX_NBYTES:
            raise NotServable(
                f"it has {format_bytes(spec.nbytes)}; embeddings have at most {format_bytes(MAX_NBYTES)}."
            )
        header = read_header(path)
        file = CheckpointFile(
            shapes=header.shapes, metadata=header.metadata, name=path.stem, read_config=lambda _: None, odd=header.odd
        )
        reading = read_embedding(file)
        return replace(spec, reading=reading, sha256=hashlib.sha256(path.read_bytes()).hexdigest())
    except (NotServable, BrokenFile) as refusal:
        return replace(spec, unusable=str(refusal))
    except OSError as error:
        return replace(spec, unusable=f"it cannot be read: {error.strerror}.")


def is_embedding_path(path: Path) -> bool:
    """Return whether a file lies in a folder of embeddings."""
    return any(part.lower() in _FOLDERS for part in path.absolute().parts[:-1])


def _files(directory: Path) -> Iterator[Path]:
    """Yield the files of the embedding folders of a models folder, in alphabetical order."""
    found: list[Path] = []
    for folder in _embedding_folders(directory):
        for parent, folders, names in os.walk(folder):
            folders[:] = sorted(name for name in folders if not name.startswith("."))
            found += [Path(parent, name) for name in sorted(names) if _may_be_one(name)]
            if len(found) >= _MAX_FILES:
                break
    yield from found[:_MAX_FILES]


def _embedding_folders(directory: Path) -> list[Path]:
    try:
        with os.scandir(directory) as entries:
            return sorted(Path(entry.path) for entry in entries if entry.name.lower() in _FOLDERS and entry.is_dir())
    except OSError:
        return []


def _may_be_one(name: str) -> bool:
    suffix = Path(name).suffix.lower()
    return not name.startswith(".") and (suffix == _SUFFIX or suffix in PICKLES)


def _printable(text: str) -> str:
    """File names may hold bytes that are no text, and no JSON could carry them."""
    return text.encode("utf-8", "backslashreplace").decode()
