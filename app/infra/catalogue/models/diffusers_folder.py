"""Reads a folder in the diffusers layout: the pipeline that it describes, its configs, the headers of its weights."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ....domain.families import registry
from ....domain.families.reading import Reading
from ...weights.folder_facts import folder_facts
from ...weights.safetensors_header import Header
from .component_configs import config_files


@dataclass(frozen=True, slots=True, kw_only=True)
class FolderReading:
    """What a folder holds."""

    reading: Reading
    headers: dict[str, list[Header]]
    """Headers of the weights, by component."""

    @property
    def nbytes(self) -> int:
        """Bytes of all weights."""
        return sum(header.nbytes for headers in self.headers.values() for header in headers)


def read_folder(folder: Path, variant: str | None, *names: str) -> FolderReading:
    """Have the families read the configs and the headers of a folder.

    Args:
        folder: with a `model_index.json`.
        variant: which weight files, such as `fp16`; None for the plain ones.
        names: what the model is called, most telling first.

    Raises:
        NotServable: no family recognises it, or something is missing.
        BrokenFile: a file of weights is broken.
    """
    facts, headers = folder_facts(folder, variant, *names)
    return FolderReading(reading=registry.read_folder(facts), headers=headers)


def watched_files(folder: Path) -> tuple[Path, ...]:
    """List everything whose change may change the result of `read_folder`, files that do not exist included."""
    return (*config_files(folder), *_contents(folder))


def _contents(folder: Path) -> Iterator[Path]:
    components = (name for family in registry.families() for name in family.components)
    for component in dict.fromkeys((*components, *_subfolders(folder))):
        yield folder / component
        try:
            yield from sorted((folder / component).iterdir())
        except OSError:  # not there, or not readable: the folder's own line in the fingerprint tells
            continue


def _subfolders(folder: Path) -> list[str]:
    try:
        return sorted(entry.name for entry in folder.iterdir() if entry.is_dir())
    except OSError:  # the folder's own line in the fingerprint tells
        return []
