"""The catalogue of upscalers: files in the subfolder `upscalers` of each models folder."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from ....domain.errors import UnknownModel
from ....domain.families.reading import CheckpointFile, NotServable, Reading
from ....domain.families.registry import upscalers
from ....domain.models.spec import Checkpoint, ModelSpec, ModelTraits
from ..asset_catalogue import AssetCatalogue
from ..fingerprint import CatalogueEntry
from ..names import Names
from ..scan import Candidate
from .addition_sources import AdditionFolder, AdditionSources
from .local_additions import read_addition

UPSCALERS = AdditionFolder(kind="upscaler", names=("upscalers", "upscale_models", "esrgan"))


def upscaler_files(directories: Sequence[Path], builtin: Path | None = None) -> AssetCatalogue[ModelSpec]:
    """Make the catalogue of some models folders without reading a file.

    Args:
        directories: the models folders; the earlier one wins a name.
        builtin: the one of the folders that ships with the package.
    """
    sources = AdditionSources(UPSCALERS, directories, builtin, describe_upscaler)
    return AssetCatalogue(sources, unknown=_unknown, annotate=_annotated)


def describe_upscaler(candidate: Candidate, builtin: bool = False) -> CatalogueEntry[ModelSpec]:
    """Describe a file; the entry of one that is no upscaler says so. Never raises for the content of files.

    Args:
        candidate: the file.
        builtin: whether it ships with the package.
    """
    found = read_addition(candidate, _read)
    reading = found.reading
    spec = ModelSpec(
        name=candidate.name,
        source=Checkpoint(path=candidate.path),
        traits=ModelTraits() if reading is None else reading.traits,
        evidence=() if reading is None else reading.evidence,
        # In 16 bits the steps of smooth skies would show; the networks are small.
        dtype="float32",
        nbytes=found.nbytes,
        version=found.version,
        unusable=found.unusable,
        builtin=builtin,
        networks=None if reading is None else reading.networks,
    )
    return CatalogueEntry(spec=spec, watched=found.watched, stamp=found.version)


def _read(file: CheckpointFile) -> Reading:
    reading = upscalers().read_checkpoint(file)
    if reading is None:
        raise NotServable("this is no upscaler")
    return reading


def _unknown(name: str, usable: Sequence[str], _names: Names[ModelSpec]) -> UnknownModel:
    return UnknownModel(name, usable)


def _annotated(spec: ModelSpec, hidden: tuple[str, ...], _: tuple[str, ...]) -> ModelSpec:
    return replace(spec, evidence=(*spec.evidence, *hidden))
