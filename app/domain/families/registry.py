"""The families that are served, by import path: one line each. The first is assumed if nothing tells."""

import importlib
from functools import cache
from typing import Any

from .family import Family
from .reading import CheckpointFile, DiffusersFolder, NotServable, Reading

FAMILIES: list[str] = ["litestar_diffusion.domain.families.sdxl.family:SDXL"]


def families() -> list[Family]:
    """Every family, imported on first use."""
    return [imported(path) for path in FAMILIES]


def family_named(name: str) -> Family:
    """The family that `ModelTraits.family` names; the first one for a model that no family has recognised."""
    every = families()
    return next((family for family in every if family.name == name), every[0])


def read_checkpoint(file: CheckpointFile) -> Reading:
    """Ask the families, in their order, whether a file is one of theirs.

    Raises:
        NotServable: none recognises it; the reason is that of the first.
    """
    refusals: list[NotServable] = []
    for family in families():
        try:
            return family.read_checkpoint(file)
        except NotServable as refusal:
            refusals.append(refusal)
    raise refusals[0]


def read_folder(folder: DiffusersFolder) -> Reading:
    """Ask the families, in their order, whether a folder is one of theirs.

    Raises:
        NotServable: none recognises it; the reason is that of the first.
    """
    refusals: list[NotServable] = []
    for family in families():
        try:
            return family.read_folder(folder)
        except NotServable as refusal:
            refusals.append(refusal)
    raise refusals[0]


@cache
def imported(path: str) -> Any:
    """Import `package.module:NAME`."""
    module, _, name = path.partition(":")
    return getattr(importlib.import_module(module), name)
