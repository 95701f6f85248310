"""The families that are served, by import path: one line each. The first is assumed if nothing tells."""

import importlib
from collections.abc import Callable
from functools import cache
from typing import Any, TypeVar

from ..models.adapters import AdapterReading
from ..models.embeddings import EmbeddingReading
from ..models.vaes import VaeReading
from .family import Family
from .reading import CheckpointFile, DiffusersFolder, NotServable, Reading
from .unrecognised import describe_addition, describe_checkpoint, describe_folder

_Read = TypeVar("_Read")

FAMILIES: list[str] = ["litestar_diffusion.domain.families.sdxl.family:SDXL"]
UPSCALERS = "litestar_diffusion.domain.families.upscaler.family:UPSCALER"
"""The family of files that no model is: they lie in a folder of their own, and are recognised there alone."""


def families() -> list[Family]:
    """Return every family; each is imported on first use."""
    return [imported(path) for path in FAMILIES]


def upscalers() -> Family:
    """Return the family of image upscalers."""
    return imported(UPSCALERS)


def family_named(name: str) -> Family:
    """Return the family of `ModelTraits.family`; the first one for a model that no family has recognised."""
    every = [*families(), upscalers()]
    return next((family for family in every if family.name == name), every[0])


def read_checkpoint(file: CheckpointFile) -> Reading:
    """Ask the families, in their order, whether a file is one of theirs.

    Raises:
        NotServable: a family recognises the file as unfit, or none recognises it.
    """
    reading = _recognised(lambda family: family.read_checkpoint(file))
    if reading is None:
        raise NotServable(describe_checkpoint(file.shapes, _titles()))
    return reading


def read_folder(folder: DiffusersFolder) -> Reading:
    """Ask the families, in their order, whether a folder is one of theirs.

    Raises:
        NotServable: a family recognises the folder as unfit, or none recognises it.
    """
    reading = _recognised(lambda family: family.read_folder(folder))
    if reading is None:
        raise NotServable(describe_folder(folder, _titles()))
    return reading


def read_adapter(file: CheckpointFile) -> AdapterReading:
    """Ask the families, in their order, whether a file is an adapter of their models.

    Raises:
        NotServable: a family recognises the file as unfit, or none recognises it.
    """
    reading = _recognised(lambda family: family.read_adapter(file))
    if reading is None:
        raise NotServable(_no_addition(file, "adapter"))
    return reading


def read_vae(file: CheckpointFile) -> VaeReading:
    """Ask the families, in their order, whether a file is a VAE of their models.

    Raises:
        NotServable: a family recognises the file as unfit, or none recognises it.
    """
    reading = _recognised(lambda family: family.read_vae(file))
    if reading is None:
        raise NotServable(_no_addition(file, "VAE"))
    return reading


def read_embedding(file: CheckpointFile) -> EmbeddingReading:
    """Ask the families, in their order, whether a file is an embedding for one of their models.

    Raises:
        NotServable: a family recognises the file as unfit, or none recognises it.
    """
    reading = _recognised(lambda family: family.read_embedding(file))
    if reading is None:
        raise NotServable(f"it is no textual inversion embedding for {' or '.join(_titles())}.")
    return reading


def _no_addition(file: CheckpointFile, wanted: str) -> str:
    """Say what a file is that lies in the folder of adapters or VAEs and is none."""
    try:
        model = _recognised(lambda family: family.read_checkpoint(file))
    except NotServable as refusal:
        return f"this is no {wanted}, but a checkpoint: {refusal}"
    if model is None:
        return describe_addition(file.shapes, _titles(), wanted)
    title = family_named(model.traits.family).title
    return f"this is no {wanted}, but a whole {title} checkpoint. Move it up into the models folder."


def _recognised(read: Callable[[Family], _Read | None]) -> _Read | None:
    """Return the first reading; a family that finds the file unfit leaves it to the others."""
    refusals: list[NotServable] = []
    for family in families():
        try:
            reading = read(family)
        except NotServable as refusal:
            refusals.append(refusal)
            continue
        if reading is not None:
            return reading
    if refusals:
        raise refusals[0]
    return None


def _titles() -> list[str]:
    return [family.title for family in families()]


@cache
def imported(path: str) -> Any:
    """Import `package.module:NAME`."""
    module, _, name = path.partition(":")
    return getattr(importlib.import_module(module), name)
