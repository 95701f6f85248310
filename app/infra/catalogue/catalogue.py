"""The catalogue: local models and Hub repositories under one set of names."""

import asyncio
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import structlog

from ...domain.errors import UnknownModel
from ...domain.models.spec import HubModel, ModelName, ModelOverrides, ModelSpec
from .fingerprint import CatalogueEntry
from .hub_models import describe_repository
from .local_models import describe
from .scan import Candidate, find_candidates

_log = structlog.get_logger()


@dataclass(slots=True, kw_only=True)
class _Claim:
    """Something that wants to be listed under a name."""

    name: str
    origin: str
    """The path or the repository."""
    what: str
    """In words for clients, who see no path of the server."""
    describe: Callable[[], CatalogueEntry]
    hides: list[str] = field(default_factory=list[str])


class ModelCatalogue:
    """Fulfils the `Catalogue` port, from any thread.

    Folders are looked through at every call; headers are read only where a file, its sidecar or its configs changed.
    Where two models claim one name, the one in the earlier folder has it, and a local one before one on the Hub:
    what is already here costs no download. The log and the evidence say whom it hides.
    """

    def __init__(
        self,
        *,
        directories: Sequence[Path],
        builtin: Path | None = None,
        overrides: Mapping[str, ModelOverrides],
        hub: Sequence[HubModel],
        hub_cache: Path | None = None,
    ) -> None:
        """Build a catalogue; nothing is read yet.

        Args:
            directories: folders of local models, in the order in which they win names. Missing ones are empty.
            builtin: which of the folders ships with the package.
            overrides: the settings' `[models.local.<name>]`.
            hub: the settings' `[[models.hub]]`.
            hub_cache: where snapshots are; None: huggingface_hub's own folder.
        """
        self._directories = tuple(directories)
        self._builtin = builtin
        self._overrides = overrides
        self._hub = tuple(hub)
        self._hub_cache = hub_cache
        self._entries: dict[str, CatalogueEntry] = {}
        self._verdicts: dict[str, tuple[str, str]] = {}
        self._logged: set[tuple[str, ...]] = set()
        self._lock = threading.Lock()

    def list(self) -> Sequence[ModelSpec]:
        """Every entry in alphabetical order, unusable ones included."""
        with self._lock:
            claims = self._claims()
            kept = {claim.origin for claim in claims.values()}
            self._entries = {origin: entry for origin, entry in self._entries.items() if origin in kept}
            return [self._spec(claims[name]) for name in sorted(claims)]

    def get(self, name: str) -> ModelSpec:
        """The entry of this name.

        Raises:
            UnknownModel: with the usable names.
        """
        with self._lock:
            claim = self._claims().get(name)
            if claim is not None:
                return self._spec(claim)
        raise UnknownModel(name, [spec.name for spec in self.list() if spec.unusable is None])

    async def refresh(self) -> Sequence[ModelSpec]:
        """Every entry, as the files are now."""
        return await asyncio.to_thread(self.list)

    async def find(self, name: str) -> ModelSpec:
        """The entry of this name as its files are now."""
        return await asyncio.to_thread(self.get, name)

    def mark_unusable(self, name: ModelName, version: str, reason: str) -> None:
        """Remember that this version of a model's files turned out to be broken when they were loaded.

        It holds until the files change.
        """
        with self._lock:
            claim = self._claims().get(name)
            if claim is not None and (entry := self._entry(claim)).spec.version == version:
                self._verdicts[name] = (entry.stamp, reason)

    def _claims(self) -> dict[str, _Claim]:
        """Who has which name. Reads no file."""
        winners: dict[str, _Claim] = {}
        for claim in self._all_claims():
            winner = winners.setdefault(claim.name, claim)
            if winner is not claim:
                winner.hides.append(claim.what)
                self._log_once("model_hidden", model=claim.name, hidden=claim.origin, by=winner.origin)
        return winners

    def _all_claims(self) -> Iterator[_Claim]:
        """Strongest first."""
        for directory in self._directories:
            for candidate in self._candidates(directory):
                yield self._local_claim(candidate, builtin=directory == self._builtin)
        for model in self._hub:
            yield self._hub_claim(model)

    def _candidates(self, directory: Path) -> Sequence[Candidate]:
        try:
            return find_candidates(directory)
        except FileNotFoundError:
            return ()
        except OSError as error:
            self._log_once("models_directory_unreadable", directory=str(directory), reason=error.strerror)
            return ()

    def _local_claim(self, candidate: Candidate, *, builtin: bool) -> _Claim:
        stated = self._overrides.get(candidate.name, ModelOverrides())
        return _Claim(
            name=candidate.name,
            origin=str(candidate.path),
            what=f"{candidate.path.name!r} in the folder {candidate.path.parent.name!r}",
            describe=lambda: describe(candidate, stated, builtin=builtin),
        )

    def _hub_claim(self, model: HubModel) -> _Claim:
        return _Claim(
            name=model.name,
            origin=f"hub:{model.name}",
            what=f"the repository {model.repo} of the settings",
            describe=lambda: describe_repository(model, self._hub_cache),
        )

    def _spec(self, claim: _Claim) -> ModelSpec:
        entry = self._entry(claim)
        hidden = tuple(f"hides {what}, which has the same name" for what in claim.hides)
        spec = replace(entry.spec, evidence=(*entry.spec.evidence, *hidden))
        stamp, reason = self._verdicts.get(claim.name, ("", ""))
        return replace(spec, unusable=reason) if stamp == entry.stamp else spec

    def _entry(self, claim: _Claim) -> CatalogueEntry:
        known = self._entries.get(claim.origin)
        if known is None or not known.up_to_date:
            known = self._entries[claim.origin] = claim.describe()
        return known

    def _log_once(self, event: str, **facts: object) -> None:
        key = (event, *(str(value) for value in facts.values()))
        if key not in self._logged:
            self._logged.add(key)
            _log.warning(event, **facts)
