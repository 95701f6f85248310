"""Describes local models, single-file checkpoints and diffusers folders, as entries of the catalogue."""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import msgspec

from ....domain.errors import InvalidSettings
from ....domain.families.overrides import apply_overrides, refuse_doubtful
from ....domain.families.reading import CheckpointFile, NotServable, Reading
from ....domain.families.registry import read_checkpoint
from ....domain.models.overrides import merged, unfit_for_preset
from ....domain.models.spec import Checkpoint, Folder, ModelOverrides, ModelSource, ModelSpec, ModelTraits
from ...weights.safetensors_header import BrokenFile, read_header
from ..fingerprint import CatalogueEntry, digest, stamps
from ..scan import Candidate, unfinished_marks
from ..unreadable import PICKLE_REASON, printable, refuse_unfinished
from .component_configs import config_files, config_reader
from .diffusers_folder import read_folder, watched_files
from .sidecar import check_sampler, config_path, read_sidecar


@dataclass(frozen=True, slots=True, kw_only=True)
class _Stated:
    """What people say of a model, and where."""

    settings: ModelOverrides
    sidecar: ModelOverrides = field(default_factory=ModelOverrides)
    config: Path | None = None
    """The folder of its component configs, for a checkpoint that has one."""
    wrong: str | None = None
    """Why what they say cannot be used."""

    @property
    def overrides(self) -> ModelOverrides:
        return merged(self.settings, self.sidecar)


def describe(candidate: Candidate, settings: ModelOverrides, *, builtin: bool = False) -> CatalogueEntry[ModelSpec]:
    """Describe a candidate; the entry of a broken one says why. Never raises for the content of files.

    Args:
        candidate: the file or folder.
        settings: what the settings say of this model.
        builtin: whether it ships with the package.
    """
    first = (candidate.path, candidate.sidecar)
    lines = stamps(first)  # always before reading, so that a change during the reading is noticed the next time
    stated = _stated(candidate, settings)
    related = _related_files(candidate, stated)
    lines += stamps(related)
    spec = ModelSpec(
        name=candidate.name,
        source=_source(candidate, stated),
        traits=ModelTraits(),
        overrides=stated.overrides,
        dtype=stated.overrides.dtype or "auto",
        version=digest(*lines, msgspec.json.encode(settings).decode()),
        builtin=builtin,
    )
    return CatalogueEntry(spec=_described(candidate, spec, stated), watched=(*first, *related), stamp=digest(*lines))


def _stated(candidate: Candidate, settings: ModelOverrides) -> _Stated:
    try:
        check_sampler(settings, f"models.local.{candidate.name} in the settings")
        sidecar = read_sidecar(candidate.sidecar)
        has_config = not candidate.is_folder and not candidate.is_preset
        config = config_path(candidate.path, merged(settings, sidecar).config) if has_config else None
        return _Stated(settings=settings, sidecar=sidecar, config=config)
    except InvalidSettings as error:
        return _Stated(settings=settings, wrong=error.message)


def _related_files(candidate: Candidate, stated: _Stated) -> tuple[Path, ...]:
    if candidate.is_folder:
        return watched_files(candidate.path)
    if candidate.is_preset:
        return ()
    usual = candidate.path.with_suffix(".config")
    return (usual, *config_files(stated.config or usual), *unfinished_marks(candidate.path))


def _source(candidate: Candidate, stated: _Stated) -> ModelSource:
    if candidate.is_folder:
        return Folder(path=candidate.path)
    return Checkpoint(path=candidate.path, config=stated.config)


def _described(candidate: Candidate, spec: ModelSpec, stated: _Stated) -> ModelSpec:
    try:
        refuse_unfinished(candidate.path)
        if candidate.is_pickle:
            raise NotServable(PICKLE_REASON)
        if stated.wrong is not None:
            raise NotServable(stated.wrong)
        if candidate.is_preset:
            return _preset(spec)
        _refuse_base(candidate, stated)
        reading, nbytes = _read(candidate, stated.config)
        reading = apply_overrides(reading, stated.sidecar, f"its sidecar {candidate.sidecar.name!r}")
        reading = apply_overrides(reading, stated.settings, "the settings file")
        refuse_doubtful(reading)
    except (NotServable, BrokenFile, InvalidSettings) as error:
        return replace(spec, unusable=printable(str(error)))
    evidence = (*reading.evidence, *_renamed(candidate))
    doubts = tuple(doubt.text for doubt in reading.doubts)
    return replace(
        spec, traits=reading.traits, evidence=evidence, doubts=doubts, networks=reading.networks, nbytes=nbytes
    )


def _preset(spec: ModelSpec) -> ModelSpec:
    """Check what a preset states; the catalogue adds what it takes from its base."""
    if unfit := unfit_for_preset(spec.overrides):
        raise NotServable(
            f"it is a preset, and {' and '.join(unfit)} can only be stated of files: state it in the sidecar of "
            f"{spec.overrides.base!r}"
        )
    return spec


def _refuse_base(candidate: Candidate, stated: _Stated) -> None:
    if stated.overrides.base is not None:
        raise NotServable(
            f"its sidecar states base = {stated.overrides.base!r}, but {candidate.path.name!r} has weights of its own: give "
            "the preset another name, or take base away"
        )


def _read(candidate: Candidate, config: Path | None) -> tuple[Reading, int]:
    if candidate.is_folder:
        found = read_folder(candidate.path, None, candidate.stem)
        return found.reading, found.nbytes
    header = read_header(candidate.path)
    file = CheckpointFile(
        shapes=header.shapes,
        metadata=header.metadata,
        name=candidate.stem,
        read_config=config_reader(config),
        odd=header.odd,
    )
    return read_checkpoint(file), header.nbytes


def _renamed(candidate: Candidate) -> Iterator[str]:
    if candidate.subfolders:
        yield f"named {candidate.name}, because it lies in the subfolder {printable('/'.join(candidate.subfolders))!r}"
    elif candidate.mark:
        yield f"named {candidate.name}, because another file's name reads the same in a URL"
    elif candidate.name != candidate.stem:
        yield f"named {candidate.name}, because {candidate.stem!r} holds characters that cannot stand in a URL"
