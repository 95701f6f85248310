"""Checks a folder in the diffusers layout: the pipeline that it describes, its configs, the headers of its weights."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import msgspec

from ...domain.families.sdxl.configs import ComponentConfigs
from ...domain.families.sdxl.detection import NotServable, Reading, read_pipeline
from ...domain.families.sdxl.key_tensors import COMPONENTS, TITLES, ComponentName, component_problems, join_problems
from ..weights.safetensors_header import BrokenFile, Header, read_header
from ..weights.weight_files import weight_files
from .component_configs import config_files, read_component_configs


class _Index(msgspec.Struct):
    """Of `model_index.json`: each component with its library and class, or with nulls where it is left out."""

    pipeline: str = msgspec.field(name="_class_name", default="nothing")
    unet: list[str | None] | None = None
    vae: list[str | None] | None = None
    text_encoder: list[str | None] | None = None
    text_encoder_2: list[str | None] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class FolderReading:
    """What a folder holds."""

    reading: Reading
    headers: dict[ComponentName, list[Header]]

    @property
    def nbytes(self) -> int:
        """Of all weights."""
        return sum(header.nbytes for headers in self.headers.values() for header in headers)


def read_folder(folder: Path, variant: str | None, *names: str) -> FolderReading:
    """Read the configs and the headers of a folder.

    Args:
        folder: with a `model_index.json`.
        variant: which weight files, such as `fp16`; None for the plain ones.
        names: what the model is called, most telling first.

    Raises:
        NotServable: it is no SDXL text-to-image pipeline, or something is missing.
        BrokenFile: a file of weights is broken.
    """
    index = _read_index(folder / "model_index.json")
    configs = read_component_configs(folder)
    reading = read_pipeline(index.pipeline, configs, *names)
    _refuse_left_out(index, folder)
    headers: dict[ComponentName, list[Header]] = {
        component: _headers(folder / component, component, variant, configs) for component in COMPONENTS
    }
    return FolderReading(reading=reading, headers=headers)


def watched_files(folder: Path) -> tuple[Path, ...]:
    """Everything whose change may change what `read_folder` says; files that do not exist included."""
    return (*config_files(folder), *_contents(folder))


def _contents(folder: Path) -> Iterator[Path]:
    for component in COMPONENTS:
        yield folder / component
        try:
            yield from sorted((folder / component).iterdir())
        except OSError:  # not there, or not readable: the folder's own line in the fingerprint tells
            continue


def _read_index(file: Path) -> _Index:
    try:
        return msgspec.json.decode(file.read_bytes(), type=_Index)
    except FileNotFoundError as error:
        raise NotServable("it has no model_index.json. Download the whole diffusers folder.") from error
    except OSError as error:
        raise NotServable(f"its {file.name} cannot be read: {error.strerror}.") from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise NotServable(f"its {file.name} is not as it should be: {error}.") from error


def _refuse_left_out(index: _Index, folder: Path) -> None:
    if index.text_encoder_2 is not None and (index.text_encoder is None or None in index.text_encoder):
        raise NotServable("this is the SDXL refiner, which only reworks finished images. Use an SDXL base model.")
    for component in COMPONENTS:
        if getattr(index, component) is None or None in getattr(index, component):
            raise NotServable(f"its model_index.json leaves out the {TITLES[component]}.")
        if not (folder / component / "config.json").is_file():
            raise NotServable(f"{component}/config.json is missing. Download the whole folder.")


def _headers(folder: Path, component: ComponentName, variant: str | None, configs: ComponentConfigs) -> list[Header]:
    headers = [_header(file, component) for file in weight_files(folder, variant)]
    shapes = {key: shape for header in headers for key, shape in header.shapes.items()}
    problems = component_problems(component, shapes, configs)
    if problems:
        raise NotServable(f"its {TITLES[component]} does not fit {component}/config.json: {join_problems(problems)}.")
    return headers


def _header(file: Path, component: str) -> Header:
    try:
        return read_header(file)
    except BrokenFile as error:
        raise BrokenFile(f"{component}/{file.name}: {error}") from error
