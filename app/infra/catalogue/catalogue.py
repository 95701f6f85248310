"""The catalogue: local models and Hub repositories under one set of names. Files are read in worker threads only."""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from weakref import WeakValueDictionary

from ...domain.errors import UnknownModel
from ...domain.models.aliases import Aliases
from ...domain.models.spec import HubModel, ModelName, ModelOverrides, ModelSpec
from .fingerprint import CatalogueEntry
from .local_models import Describe, describe
from .sources import Claim, ModelSources, Names


@dataclass(frozen=True, slots=True, kw_only=True)
class _Snapshot:
    """The models at one moment. Replaced as a whole, by the event loop alone, so that no reader needs a lock."""

    names: Names = field(default_factory=lambda: Names(claims={}, stamps=(None,)))
    entries: Mapping[str, CatalogueEntry] = field(default_factory=dict[str, CatalogueEntry])
    """Entries by origin; none for a claim whose files have not been read yet."""


class ModelCatalogue:
    """Fulfils the `Catalogue` port. Event loop only.

    Headers are read only if a file, its sidecar or its configs changed, and one by one, so that requests are answered in between
    and a shutdown waits for one file at most.
    """

    def __init__(
        self,
        *,
        directories: Sequence[Path],
        builtin: Path | None = None,
        overrides: Mapping[str, ModelOverrides],
        hub: Sequence[HubModel],
        hub_cache: Path | None = None,
        aliases: Aliases | None = None,
        describe_file: Describe = describe,
    ) -> None:
        """Build a catalogue without reading a file.

        Args:
            directories: folders of local models; the earlier one wins a name. Missing folders are empty.
            builtin: the one of the folders that ships with the package.
            overrides: the settings' `[models.local.<name>]`.
            hub: the settings' `[[models.hub]]`.
            hub_cache: folder of downloaded repositories; None: huggingface_hub's own.
            aliases: other names of models; none if absent.
            describe_file: describes a file or folder; by default as a model.
        """
        self._aliases = aliases or Aliases()
        self._sources = ModelSources(
            directories=directories,
            builtin=builtin,
            overrides=overrides,
            hub=hub,
            hub_cache=hub_cache,
            aliases=self._aliases,
            describe_file=describe_file,
        )
        self._snapshot = _Snapshot()
        self._complete = False
        self._refreshing: asyncio.Task[None] | None = None
        self._naming = asyncio.Lock()
        self._name_reads_begun = self._name_reads_published = 0
        self._describing: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self._verdicts: dict[str, tuple[str, str]] = {}

    async def list(self) -> Sequence[ModelSpec]:
        """List every entry in alphabetical order, as of the last scan; waits for the first scan."""
        return self._listed() if self._complete else await self.refresh()

    async def refresh(self) -> Sequence[ModelSpec]:
        """Scan all files, and list every entry in alphabetical order. Simultaneous calls share one scan."""
        if self._refreshing is None or self._refreshing.done():
            self._refreshing = asyncio.create_task(self._look_at_all(), name="refresh the catalogue")
        await asyncio.shield(self._refreshing)  # a client that leaves must not end the look for the others
        return self._listed()

    async def find(self, name: str, *, changed: bool = False) -> ModelSpec:
        """Find the entry of this name after checking its files: a few stats if nothing has changed.

        Args:
            name: of the entry, or an alias of it.
            changed: whether its files have just been written, so that time stamps may not tell.

        Raises:
            UnknownModel: with the usable names.
        """
        snapshot = self._snapshot
        claim = snapshot.names.claim(name)
        entry = snapshot.entries.get(claim.origin) if claim is not None else None
        if changed or entry is None or not await asyncio.to_thread(self._is_current, snapshot.names, entry):
            await self._read_names()
            claim = self._snapshot.names.claim(name)
            if claim is not None:
                await self._describe(claim, changed=changed)
        return self.get(name)

    def get(self, name: str) -> ModelSpec:
        """Return the entry of this name or alias as of the last check of its files.

        Raises:
            UnknownModel: with the usable names.
        """
        spec = self._spec(name)
        if spec is None:
            claims = self._snapshot.names.claims
            usable = [known for known in sorted(claims) if self._may_be_usable(known)]
            raise UnknownModel(name, usable, chain=self._aliases.chain(name, claims)[1:])
        return spec

    def mark_unusable(self, name: ModelName, version: str, reason: str) -> None:
        """Remember that this version of a model's files turned out to be broken when they were loaded.

        It holds until the files change.
        """
        spec, snapshot = self._spec(name), self._snapshot
        if spec is not None and spec.version == version:
            self._verdicts[name] = (snapshot.entries[snapshot.names.claims[name].origin].stamp, reason)

    def _listed(self) -> Sequence[ModelSpec]:
        return [spec for name in sorted(self._snapshot.names.claims) if (spec := self._spec(name)) is not None]

    def _spec(self, name: str) -> ModelSpec | None:
        snapshot = self._snapshot
        claim = snapshot.names.claim(name)
        entry = snapshot.entries.get(claim.origin) if claim is not None else None
        if claim is None or entry is None:
            return None
        stamp, reason = self._verdicts.get(claim.name, ("", ""))
        unusable = reason if stamp == entry.stamp else entry.spec.unusable
        aliases = snapshot.names.aliases_of(claim.name)
        if not claim.hides and not aliases and unusable == entry.spec.unusable:
            return entry.spec  # nearly always: a list of a thousand must not hold the event loop
        hidden = tuple(f"hides {title}, which has the same name" for title in claim.hides)
        return replace(entry.spec, evidence=(*entry.spec.evidence, *hidden), unusable=unusable, aliases=aliases)

    def _may_be_usable(self, name: str) -> bool:
        """Tell whether no reason against a name is known; its files may not have been read yet."""
        spec = self._spec(name)
        return spec is None or spec.unusable is None

    async def _look_at_all(self) -> None:
        await self._read_names()
        for claim in await asyncio.to_thread(_outdated, self._snapshot):
            await self._describe(claim)
        self._drop_gone()
        self._complete = True

    async def _read_names(self) -> None:
        """Read the names anew; calls that wait for the same read share it."""
        enough = self._name_reads_begun + 1  # a read that has begun already may have missed what the caller knows of
        async with self._naming:
            if self._name_reads_published >= enough:
                return
            self._name_reads_begun += 1
            names = await asyncio.to_thread(self._sources.names)
            self._snapshot = replace(self._snapshot, names=names)
            self._name_reads_published = self._name_reads_begun

    async def _describe(self, claim: Claim, *, changed: bool = False) -> None:
        """Read a claim's files if they have changed, or if `changed`; calls for the same claim wait for each other."""
        lock = self._describing.setdefault(claim.origin, asyncio.Lock())
        async with lock:
            known = None if changed else self._snapshot.entries.get(claim.origin)
            entry = await asyncio.to_thread(_described, claim, known)
            if entry is not known:
                self._snapshot = replace(self._snapshot, entries={**self._snapshot.entries, claim.origin: entry})

    def _drop_gone(self) -> None:
        origins = {claim.origin for claim in self._snapshot.names.claims.values()}
        entries = {origin: entry for origin, entry in self._snapshot.entries.items() if origin in origins}
        self._snapshot = replace(self._snapshot, entries=entries)

    def _is_current(self, names: Names, entry: CatalogueEntry) -> bool:
        """Worker thread."""
        return not self._sources.may_have_changed(names) and entry.up_to_date


def _outdated(snapshot: _Snapshot) -> Iterable[Claim]:
    """Worker thread. The claims whose files have to be read."""
    known = ((claim, snapshot.entries.get(claim.origin)) for claim in snapshot.names.claims.values())
    return [claim for claim, entry in known if entry is None or not entry.up_to_date]


def _described(claim: Claim, known: CatalogueEntry | None) -> CatalogueEntry:
    """Worker thread. The known entry if it is up to date, else a new one."""
    return known if known is not None and known.up_to_date else claim.describe()
