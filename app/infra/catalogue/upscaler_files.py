"""Describes upscalers, files in the subfolder `upscalers` of a models folder, as entries of a catalogue of their own."""

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from ...domain.families.reading import CheckpointFile, NotServable
from ...domain.families.registry import upscalers
from ...domain.models.spec import Checkpoint, ModelOverrides, ModelSpec, ModelTraits
from ..weights.safetensors_header import BrokenFile, read_header
from .fingerprint import CatalogueEntry, digest, stamps
from .local_models import printable, refuse_unsafe
from .scan import Candidate, unfinished_marks

FOLDER = "upscalers"


def upscaler_folders(models: Iterable[Path]) -> list[Path]:
    """Return the folders of upscalers inside the folders of models."""
    return [directory / FOLDER for directory in models]


def describe_upscaler(candidate: Candidate, settings: ModelOverrides, *, builtin: bool = False) -> CatalogueEntry:  # noqa: ARG001
    """Describe a candidate; the entry of one that is no upscaler says so. Never raises for the content of files.

    Args:
        candidate: the file or folder.
        settings: nothing; the settings say nothing of upscalers.
        builtin: whether it ships with the package.
    """
    watched = (candidate.path, *unfinished_marks(candidate.path))
    lines = stamps(watched)  # before reading, so that a change during the reading is noticed the next time
    spec = ModelSpec(
        name=candidate.name,
        source=Checkpoint(path=candidate.path),
        traits=ModelTraits(),
        # In 16 bits the steps of smooth skies would show; the networks are small.
        dtype="float32",
        version=digest(*lines),
        builtin=builtin,
    )
    return CatalogueEntry(spec=_described(candidate, spec), watched=watched, stamp=digest(*lines))


def _described(candidate: Candidate, spec: ModelSpec) -> ModelSpec:
    try:
        refuse_unsafe(candidate)
        if candidate.is_folder:
            raise NotServable("it is a folder; upscalers are single .safetensors files")
        header = read_header(candidate.path)
        file = CheckpointFile(
            shapes=header.shapes,
            metadata=header.metadata,
            name=candidate.stem,
            read_config=lambda _name: None,
            odd=header.odd,
        )
        reading = upscalers().read_checkpoint(file)
    except (NotServable, BrokenFile) as error:
        return replace(spec, unusable=printable(str(error)))
    assert reading is not None
    return replace(
        spec, traits=reading.traits, evidence=reading.evidence, networks=reading.networks, nbytes=header.nbytes
    )
