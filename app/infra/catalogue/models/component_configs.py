"""Reads config files of a diffusers folder, or of a folder of configs beside a checkpoint."""

from pathlib import Path

from ....domain.families.reading import ReadConfig
from ....domain.families.registry import families
from ...weights.config_files import folder_reader


def config_reader(folder: Path | None) -> ReadConfig:
    """Make a reader of the config files in a folder; one without a folder finds none."""
    return folder_reader(folder) if folder is not None else lambda _: None


def config_files(folder: Path) -> tuple[Path, ...]:
    """List the config files that any family reads, whether they exist or not."""
    return tuple(folder / name for family in families() for name in family.config_files)
