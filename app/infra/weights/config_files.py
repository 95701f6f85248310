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
