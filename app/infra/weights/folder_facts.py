"""Finds in a folder in the diffusers layout what families recognise it by: its pipeline, configs, headers of its weights."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ...domain.families.json_config import decode_config
from ...domain.families.reading import DiffusersFolder, NotServable, Shapes
from .config_files import folder_reader
from .safetensors_header import BrokenFile, Header, read_header
from .weight_files import weight_files


def folder_facts(folder: Path, variant: str | None, *names: str) -> tuple[DiffusersFolder, dict[str, list[Header]]]:
    """Return the facts of a folder, and the headers by component, which fill while families read the facts.

    Args:
        folder: with a `model_index.json`.
        variant: which weight files, such as `fp16`; None for the plain ones.
        names: what the model is called, most telling first.

    Raises:
        NotServable: its `model_index.json` cannot be used.
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
        read_config=folder_reader(folder),
        read_shapes=read_shapes,
    )
    return facts, headers


def _read_index(file: Path) -> dict[str, Any]:
    """Decode `model_index.json`: each component with its library and class, or with nulls if it is left out."""
    try:
        return decode_config(file.name, file.read_bytes())
    except FileNotFoundError as error:
        raise NotServable("it has no model_index.json. Download the whole diffusers folder.") from error
    except OSError as error:
        raise NotServable(f"its {file.name} cannot be read: {error.strerror}.") from error


def _is_part(part: object) -> bool:
    return part is None or (isinstance(part, Sequence) and not isinstance(part, str))


def _header(file: Path, component: str) -> Header:
    try:
        return read_header(file)
    except BrokenFile as error:
        raise BrokenFile(f"{component}/{file.name}: {error}") from error
