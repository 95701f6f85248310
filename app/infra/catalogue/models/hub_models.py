"""Describes repositories on the Hub as entries of the catalogue: by their names, and by their files once downloaded."""

from dataclasses import replace
from pathlib import Path

import msgspec

from ....domain.errors import InvalidSettings
from ....domain.families.overrides import apply_overrides
from ....domain.families.reading import NotServable, Reading
from ....domain.models.overrides import merged
from ....domain.models.spec import HubModel, HubRepository, ModelName, ModelOverrides, ModelSpec, ModelTraits
from ...hub.snapshots import assumed_family, cached_snapshot, repository_folder
from ...weights.safetensors_header import BrokenFile
from ..fingerprint import CatalogueEntry, digest, stamps
from .diffusers_folder import read_folder, watched_files
from .sidecar import check_sampler


def describe_repository(model: HubModel, cache: Path | None) -> CatalogueEntry[ModelSpec]:
    """Describe the repository of a `[[models.hub]]` table. Makes no request.

    Its version does not change when it is downloaded: what has just been loaded need not be loaded again.
    """
    source = HubRepository(repo=model.repo, revision=model.revision, variant=model.variant)
    watched = _watched(source, cache)
    stamp = digest(*stamps(watched))
    spec = ModelSpec(
        name=ModelName(model.name),
        source=source,
        traits=ModelTraits(),
        overrides=merged(model, ModelOverrides()),
        dtype=model.dtype or "auto",
        version=digest(msgspec.json.encode(model).decode()),
    )
    return CatalogueEntry(spec=_described(spec, model, cached_snapshot(source, cache)), watched=watched, stamp=stamp)


def _watched(source: HubRepository, cache: Path | None) -> tuple[Path, ...]:
    """List the paths in the cache that change when a download ends or files are deleted."""
    repository = repository_folder(source, cache)
    snapshots = repository / "snapshots"
    files = (file for revision in sorted(snapshots.glob("*")) for file in watched_files(revision))
    return (snapshots, repository / "refs" / (source.revision or "main"), *files)


def _described(spec: ModelSpec, model: HubModel, snapshot: Path | None) -> ModelSpec:
    try:
        check_sampler(model, f"models.hub, {model.name!r},")
        reading, nbytes = _read(model, snapshot)
        reading = apply_overrides(reading, model, "the settings file")
    except (NotServable, InvalidSettings) as error:
        return replace(spec, unusable=str(error))
    except BrokenFile as error:
        return replace(spec, unusable=f"a downloaded file is broken: {error} Delete {model.repo} from the Hub's cache.")
    doubts = tuple(doubt.text for doubt in reading.doubts)
    return replace(
        spec, traits=reading.traits, evidence=reading.evidence, doubts=doubts, networks=reading.networks, nbytes=nbytes
    )


def _read(model: HubModel, snapshot: Path | None) -> tuple[Reading, int | None]:
    if snapshot is None:
        return assumed_family().assume((model.repo, model.name)), None
    found = read_folder(snapshot, model.variant, model.repo, model.name)
    return found.reading, found.nbytes
