"""Reads config files of a folder, for families that know no paths."""

from pathlib import Path

from ...domain.families.reading import NotServable, ReadConfig


def folder_reader(folder: Path) -> ReadConfig:
    """Make a reader of the config files in a folder."""

    def read(name: str) -> bytes | None:
        try:
            return (folder / name).read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise NotServable(f"{name} cannot be read: {error.strerror}.") from error

    return read


_NAMELESS = frozenset({"adapter_model", "diffusion_pytorch_model"})
"""Stems of files in a folder of their own, whose config lies beside them, as PEFT and diffusers write both."""


def config_folder(file: Path) -> Path:
    """Return the folder in which the config of a file may lie: `<name>.config` beside it, or its own folder if it is nameless."""
    return file.parent if file.stem in _NAMELESS else file.with_suffix(".config")


def reader_beside(file: Path) -> ReadConfig:
    """Make a reader of the config files of one file of weights."""
    return folder_reader(config_folder(file))
