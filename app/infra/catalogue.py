"""The catalogue: local models and Hub repositories under one set of names."""

import threading
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from ..domain.checkpoint import Reading, apply_overrides, few_step_from_words
from ..domain.errors import UnknownModel
from ..domain.model import HubModel, HubRepository, ModelName, ModelOverrides, ModelSpec, ModelTraits
from .hub import cached_snapshot
from .local import Candidate, candidates, describe, merged, read_folder

_TURBO_SIZE_PX = 512


class ModelCatalogue:
    """Fulfils the `Catalogue` port. Folders are looked through at every call, headers read only where files changed."""

    def __init__(
        self,
        *,
        directories: Sequence[Path],
        builtin: Path | None = None,
        overrides: Mapping[str, ModelOverrides],
        hub: Sequence[HubModel],
        hub_cache: Path | None = None,
    ) -> None:
        """Build a catalogue.

        Args:
            directories: folders of local models; of two models of one name the one in the earlier folder counts.
            builtin: which of the folders ships with the package.
            overrides: the settings' `[models.local.<name>]`.
            hub: the settings' `[[models.hub]]`; they win over local models of the same name.
            hub_cache: where snapshots are; None: huggingface_hub's own folder.
        """
        self._directories = tuple(directories)
        self._builtin = builtin
        self._overrides = overrides
        self._hub = tuple(hub)
        self._hub_cache = hub_cache
        self._described: dict[Path, ModelSpec] = {}
        self._verdicts: dict[tuple[str, str], str] = {}
        self._lock = threading.Lock()

    def list(self) -> Sequence[ModelSpec]:
        """Every entry in alphabetical order, unusable ones included."""
        with self._lock:
            entries = self._local()
            for model in self._hub:
                entries[model.name] = self._of_hub(model)
        return [self._judged(entries[name]) for name in sorted(entries)]

    def get(self, name: str) -> ModelSpec:
        """The entry of this name.

        Raises:
            UnknownModel: with the usable names.
        """
        specs = self.list()
        found = next((spec for spec in specs if spec.name == name), None)
        if found is None:
            raise UnknownModel(name, [spec.name for spec in specs if spec.unusable is None])
        return found

    def mark_unusable(self, name: ModelName, version: str, reason: str) -> None:
        """Remember that this version of a model's files turned out to be broken when they were loaded."""
        self._verdicts[name, version] = reason

    def _judged(self, spec: ModelSpec) -> ModelSpec:
        reason = self._verdicts.get((spec.name, spec.version))
        return spec if reason is None else replace(spec, unusable=reason)

    def _local(self) -> dict[str, ModelSpec]:
        entries: dict[str, ModelSpec] = {}
        seen: dict[Path, ModelSpec] = {}
        for directory in self._directories:
            for candidate in candidates(directory):
                spec = seen[candidate.path] = self._describe(candidate, builtin=directory == self._builtin)
                known = entries.get(spec.name)
                if known is None or (known.unusable is not None and spec.unusable is None):
                    entries[spec.name] = spec
        self._described = seen
        return entries

    def _describe(self, candidate: Candidate, *, builtin: bool) -> ModelSpec:
        known = self._described.get(candidate.path)
        if known is not None and known.version == candidate.fingerprint:
            return known
        stated = self._overrides.get(candidate.name, ModelOverrides())
        return describe(candidate, stated, builtin=builtin)

    def _of_hub(self, model: HubModel) -> ModelSpec:
        repository = HubRepository(repo=model.repo, revision=model.revision, variant=model.variant)
        snapshot = cached_snapshot(repository, self._hub_cache)
        reading = _hub_reading(model, snapshot)
        overrides = merged(model, ModelOverrides())
        return ModelSpec(
            name=ModelName(model.name),
            source=repository,
            traits=reading.traits,
            evidence=reading.evidence,
            overrides=overrides,
            dtype=model.dtype or "auto",
            nbytes=_size(snapshot) if snapshot is not None else None,
            version=f"{model.repo}@{model.revision or 'main'}",
        )


def _hub_reading(model: HubModel, snapshot: Path | None) -> Reading:
    """From the downloaded configs, or else from the repository's name."""
    if snapshot is not None:
        reading = read_folder(snapshot, model.repo)
    else:
        few_step, how = few_step_from_words({}, f"{model.repo} {model.name}")
        turbo = few_step is not None and few_step.kind == "turbo"
        traits = ModelTraits(few_step=few_step, size_px=_TURBO_SIZE_PX if turbo else 1024)
        reading = Reading(traits=traits, evidence=("not downloaded yet: judged by the repository's name", how))
    return apply_overrides(reading, model, "the settings file")


def _size(snapshot: Path) -> int:
    return sum(file.stat().st_size for file in snapshot.rglob("*.safetensors"))
