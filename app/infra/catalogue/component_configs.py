"""Reads config files of a diffusers folder, or of a folder of configs beside a checkpoint."""

from pathlib import Path

from ...domain.families.reading import NotServable, ReadConfig
from ...domain.families.registry import families


def config_reader(folder: Path | None) -> ReadConfig:
    """Make a reader of the config files in a folder; one without a folder finds none."""

    def read(name: str) -> bytes | None:
        if folder is None:
            return None
        try:
            return (folder / name).read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise NotServable(f"{name} cannot be read: {error.strerror}.") from error

    return read


def config_files(folder: Path) -> tuple[Path, ...]:
    """List the config files that any family reads, whether they exist or not."""
    return tuple(folder / name for family in families() for name in family.config_files)
