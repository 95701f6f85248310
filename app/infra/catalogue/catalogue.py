"""The catalogue: local models and Hub repositories under one set of names."""

import asyncio
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import structlog

from ...domain.errors import UnknownModel
from ...domain.models.spec import HubModel, ModelName, ModelOverrides, ModelSpec
from .fingerprint import CatalogueEntry, settled_stamp
from .hub_models import describe_repository
from .local_models import describe
from .scan import Candidate, find_candidates

_log = structlog.get_logger()

_BREATH_S = 0.0005
"""Pause between two files of a scan, in seconds: the event loop gets the interpreter at once, otherwise only after 5 ms."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Claim:
    """Something that wants to be listed under a name."""

    name: str
    origin: str
    """The path or the repository."""
    what: str
    """In words for clients, which see no path of the server."""
    describe: Callable[[], CatalogueEntry]
    hides: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Snapshot:
    """The models as they were at one moment. Never changed, only replaced."""

    claims: Mapping[str, _Claim] = field(default_factory=dict[str, _Claim])
    stamps: tuple[str | None, ...] = ()
    """Of the folders, when their names were read."""
    entries: Mapping[str, CatalogueEntry] = field(default_factory=dict[str, CatalogueEntry])
    """By origin; none for a claim whose files have not been read yet."""


class ModelCatalogue:
    """Fulfils the `Catalogue` port. Files are read in worker threads only; the event loop sees the last snapshot.

    Headers are read only if a file, its sidecar or its configs changed. If two models claim one name, the one in the earlier
    folder has it, and a local one before one on the Hub: a local model costs no download. The log and the evidence name the one
    that is hidden.
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
        self._snapshot = _Snapshot()
        self._refreshing: asyncio.Task[None] | None = None
        self._complete = False
        self._verdicts: dict[str, tuple[str, str]] = {}
        self._logged: set[tuple[str, ...]] = set()
        # Held for as long as a dict is copied, never while a file is read: the event loop takes it, too.
        self._publishing = threading.Lock()

    async def list(self) -> Sequence[ModelSpec]:
        """Every entry in alphabetical order, as of the last look at the files; waits for the first look."""
        return self._listed() if self._complete else await self.refresh()

    async def refresh(self) -> Sequence[ModelSpec]:
        """Every entry in alphabetical order, after a look at all files. Calls at the same time share one look."""
        if self._refreshing is None or self._refreshing.done():
            self._refreshing = asyncio.create_task(asyncio.to_thread(self._look_at_all), name="refresh the catalogue")
        await asyncio.shield(self._refreshing)
        return self._listed()

    async def find(self, name: str, *, changed: bool = False) -> ModelSpec:
        """The entry of this name, after a look at its files.

        Args:
            name: of the entry.
            changed: whether its files have just been written, so that time stamps may not tell.

        Raises:
            UnknownModel: with the usable names.
        """
        await asyncio.to_thread(self._look_at, name, changed)
        return self.get(name)

    def get(self, name: str) -> ModelSpec:
        """The entry of this name, as of the last look at its files.

        Raises:
            UnknownModel: with the usable names.
        """
        spec = self._spec(name)
        if spec is None:
            raise UnknownModel(name, [known for known in sorted(self._snapshot.claims) if self._may_be_usable(known)])
        return spec

    def mark_unusable(self, name: ModelName, version: str, reason: str) -> None:
        """Remember that this version of a model's files turned out to be broken when they were loaded.

        It holds until the files change.
        """
        spec, snapshot = self._spec(name), self._snapshot
        if spec is not None and spec.version == version:
            self._verdicts[name] = (snapshot.entries[snapshot.claims[name].origin].stamp, reason)

    def _listed(self) -> Sequence[ModelSpec]:
        return [spec for name in sorted(self._snapshot.claims) if (spec := self._spec(name)) is not None]

    def _spec(self, name: str) -> ModelSpec | None:
        snapshot = self._snapshot
        claim = snapshot.claims.get(name)
        entry = snapshot.entries.get(claim.origin) if claim is not None else None
        if claim is None or entry is None:
            return None
        hidden = tuple(f"hides {what}, which has the same name" for what in claim.hides)
        stamp, reason = self._verdicts.get(name, ("", ""))
        unusable = reason if stamp == entry.stamp else entry.spec.unusable
        return replace(entry.spec, evidence=(*entry.spec.evidence, *hidden), unusable=unusable)

    def _may_be_usable(self, name: str) -> bool:
        """Whether nothing speaks against a name; its files may not have been read yet."""
        spec = self._spec(name)
        return spec is None or spec.unusable is None

    def _look_at_all(self) -> None:
        """Worker thread. Files are described one by one, so that a find in another thread need not wait."""
        self._read_names()
        claims = self._snapshot.claims
        for claim in claims.values():
            self._read(claim, changed=False)
            time.sleep(_BREATH_S)
        kept = {claim.origin for claim in claims.values()}
        with self._publishing:
            entries = {origin: entry for origin, entry in self._snapshot.entries.items() if origin in kept}
            self._snapshot = replace(self._snapshot, entries=entries)
        self._complete = True

    def _look_at(self, name: str, changed: bool) -> None:
        """Worker thread. Look at one entry: a few stats if nothing has changed."""
        claim = self._snapshot.claims.get(name)
        if claim is not None and not self._names_may_have_changed():
            if self._read(claim, changed=changed):
                return
            changed = False  # it has been described anew; that its files changed may mean that they are gone
        self._read_names()
        claim = self._snapshot.claims.get(name)
        if claim is not None:
            self._read(claim, changed=changed)

    def _read(self, claim: _Claim, *, changed: bool) -> bool:
        """Describe a claim anew if its files changed. Returns whether they are as they were."""
        known = self._snapshot.entries.get(claim.origin)
        if known is not None and not changed and known.up_to_date:
            return True
        entry = claim.describe()
        with self._publishing:
            self._snapshot = replace(self._snapshot, entries={**self._snapshot.entries, claim.origin: entry})
        return False

    def _names_may_have_changed(self) -> bool:
        stamps = self._snapshot.stamps
        return None in stamps or stamps != tuple(map(settled_stamp, self._directories))

    def _read_names(self) -> None:
        """Find out which model has which name. Reads folders, no files."""
        stamps = tuple(map(settled_stamp, self._directories))  # before the names, so that a later change is noticed
        winners: dict[str, _Claim] = {}
        for claim in self._claims():
            winner = winners.setdefault(claim.name, claim)
            if winner is not claim:
                winners[claim.name] = replace(winner, hides=(*winner.hides, claim.what))
                self._log_once("model_hidden", model=claim.name, hidden=claim.origin, by=winner.origin)
        with self._publishing:
            self._snapshot = replace(self._snapshot, claims=winners, stamps=stamps)

    def _claims(self) -> Iterator[_Claim]:
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

    def _log_once(self, event: str, **facts: object) -> None:
        key = (event, *(str(value) for value in facts.values()))
        if key not in self._logged:
            self._logged.add(key)
            _log.warning(event, **facts)
