"""Where a command takes its settings and services from: a settings file, or the application that it belongs to."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ..settings import Settings, load_settings

if TYPE_CHECKING:  # `--help` need not wait for what this imports
    from ..lifecycle import Services


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Settings, and what builds services from them."""

    settings: Settings
    build: "Callable[[Settings], Services]"
    standalone: bool
    """Whether the process is ours, so that its logging and memory allocator are ours to configure."""


def source_of(settings_file: Path | None) -> Source:
    """Return the source of the application that the running command belongs to, else that of a settings file.

    Raises:
        InvalidSettings: naming every wrong key of the file.
    """
    embedding = click.get_current_context().find_object(Source)
    if embedding is not None:
        return embedding
    return Source(settings=load_settings(settings_file), build=_build, standalone=True)


def _build(settings: Settings) -> "Services":
    from ..bootstrap import build  # here, because `--help` need not wait for it

    return build(settings)
