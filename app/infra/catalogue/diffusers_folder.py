"""Reads a folder in the diffusers layout: the pipeline that it describes, its configs, the headers of its weights."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from ...domain.families import registry
from ...domain.families.reading import DiffusersFolder, NotServable, Reading, Shapes
from ..weights.safetensors_header import BrokenFile, Header, read_header
from ..weights.weight_files import weight_files
from .component_configs import config_files, config_reader


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
    index = _read_index(folder / "model_index.json")
    headers: dict[str, list[Header]] = {}

    def read_shapes(component: str) -> Shapes:
        if component not in headers:
            headers[component] = [_header(file, component) for file in weight_files(folder / component, variant)]
        return {key: shape for header in headers[component] for key, shape in header.shapes.items()}

    facts = DiffusersFolder(
        pipeline=str(index.get("_class_name", "nothing")),
        parts={name: part for name, part in index.items() if _is_part(part)},
        names=names,
        read_config=config_reader(folder),
        read_shapes=read_shapes,
    )
    return FolderReading(reading=registry.read_folder(facts), headers=headers)


def watched_files(folder: Path) -> tuple[Path, ...]:
    """List everything whose change may change the result of `read_folder`, files that do not exist included."""
    return (*config_files(folder), *_contents(folder))


def _contents(folder: Path) -> Iterator[Path]:
    for component in dict.fromkeys(name for family in registry.families() for name in family.components):
        yield folder / component
        try:
            yield from sorted((folder / component).iterdir())
        except OSError:  # not there, or not readable: the folder's own line in the fingerprint tells
            continue


def _read_index(file: Path) -> dict[str, Any]:
    """Decode `model_index.json`: each component with its library and class, or with nulls if it is left out."""
    try:
        return msgspec.json.decode(file.read_bytes(), type=dict[str, Any])
    except FileNotFoundError as error:
        raise NotServable("it has no model_index.json. Download the whole diffusers folder.") from error
    except OSError as error:
        raise NotServable(f"its {file.name} cannot be read: {error.strerror}.") from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise NotServable(f"its {file.name} is not as it should be: {error}.") from error


def _is_part(part: object) -> bool:
    return part is None or (isinstance(part, Sequence) and not isinstance(part, str))


def _header(file: Path, component: str) -> Header:
    try:
        return read_header(file)
    except BrokenFile as error:
        raise BrokenFile(f"{component}/{file.name}: {error}") from error
