"""Entries of one kind of asset under one set of names, as of the last look at their files, which worker threads take."""

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Generic, Protocol
from weakref import WeakValueDictionary

from ...domain.errors import UnknownAsset
from .fingerprint import CatalogueEntry, Spec
from .names import Claim, Names

Unknown = Callable[[str, Sequence[str], Names[Spec]], UnknownAsset]
"""Makes the error for a name that no entry has: the name, the usable names, all names."""
Annotate = Callable[[Spec, tuple[str, ...], tuple[str, ...]], Spec]
"""Adds to an entry what its names say: titles of what it hides, and its aliases."""


class AssetSources(Protocol[Spec]):
    """The places that assets come from. Worker threads only."""

    def names(self) -> Names[Spec]:
        """Read the folders and decide which asset gets which name."""
        ...

    def may_have_changed(self, names: Names[Spec]) -> bool:
        """Tell whether the folders may hold other names than these."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class _Snapshot(Generic[Spec]):
    """The assets at one moment. Replaced as a whole, by the event loop alone, so that no reader needs a lock."""

    names: Names[Spec] = field(default_factory=lambda: Names(claims={}, stamps=(None,)))
    entries: Mapping[str, CatalogueEntry[Spec]] = field(default_factory=dict[str, CatalogueEntry[Spec]])
    """Entries by origin; none for a claim whose files have not been read yet."""


class AssetCatalogue(Generic[Spec]):
    """Keeps a snapshot of one kind of asset. Event loop only.

    Headers are read only if a file or one beside it changed, and one by one, so that requests are answered in between and a
    shutdown waits for one file at most.
    """

    def __init__(self, sources: AssetSources[Spec], *, unknown: Unknown[Spec], annotate: Annotate[Spec]) -> None:
        """Make a catalogue without reading a file."""
        self._sources = sources
        self._unknown = unknown
        self._annotate = annotate
        self._snapshot: _Snapshot[Spec] = _Snapshot()
        self._complete = False
        self._refreshing: asyncio.Task[None] | None = None
        self._naming = asyncio.Lock()
        self._name_reads_begun = self._name_reads_published = 0
        self._describing: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self._verdicts: dict[str, tuple[str, str]] = {}

    async def list(self) -> Sequence[Spec]:
        """List every entry in alphabetical order, as of the last scan; waits for the first scan."""
        return self.snapshot() if self._complete else await self.refresh()

    async def refresh(self) -> Sequence[Spec]:
        """Scan all files, and list every entry in alphabetical order. Simultaneous calls share one scan."""
        if self._refreshing is None or self._refreshing.done():
            self._refreshing = asyncio.create_task(self._look_at_all(), name="refresh the catalogue")
        await asyncio.shield(self._refreshing)  # a client that leaves must not end the look for the others
        return self.snapshot()

    async def find(self, name: str, *, changed: bool = False) -> Spec:
        """Find the entry of this name after checking its files: a few stats if nothing has changed.

        Args:
            name: of the entry, or another spelling of it.
            changed: whether its files have just been written, so that time stamps may not tell.

        Raises:
            UnknownAsset: with the usable names.
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

    def get(self, name: str) -> Spec:
        """Return the entry of this name as of the last check of its files.

        Raises:
            UnknownAsset: with the usable names.
        """
        spec = self.known(name)
        if spec is None:
            raise self._unknown(name, self._usable(), self._snapshot.names)
        return spec

    def mark_unusable(self, name: str, version: str, reason: str) -> None:
        """Remember that this version of an asset's files turned out to be broken when they were loaded.

        It holds until the files change.
        """
        spec, snapshot = self.known(name), self._snapshot
        if spec is not None and spec.version == version:
            self._verdicts[name] = (snapshot.entries[snapshot.names.claims[name].origin].stamp, reason)

    def known(self, name: str) -> Spec | None:
        """Return the entry of this name; None if there is none, or its files have not been read yet."""
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
        return replace(self._annotate(entry.spec, hidden, aliases), unusable=unusable)

    def snapshot(self) -> Sequence[Spec]:
        """List every entry in alphabetical order as of the last look at its files. Reads nothing."""
        return [spec for name in sorted(self._snapshot.names.claims) if (spec := self.known(name)) is not None]

    def _usable(self) -> Sequence[str]:
        """List the names against which no reason is known; their files may not have been read yet."""
        names = sorted(self._snapshot.names.claims)
        return [name for name in names if (spec := self.known(name)) is None or spec.unusable is None]

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

    async def _describe(self, claim: Claim[Spec], *, changed: bool = False) -> None:
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

    def _is_current(self, names: Names[Spec], entry: CatalogueEntry[Spec]) -> bool:
        """Worker thread."""
        return not self._sources.may_have_changed(names) and entry.up_to_date


def _outdated(snapshot: _Snapshot[Spec]) -> Iterable[Claim[Spec]]:
    """Worker thread. The claims whose files have to be read."""
    known = ((claim, snapshot.entries.get(claim.origin)) for claim in snapshot.names.claims.values())
    return [claim for claim, entry in known if entry is None or not entry.up_to_date]


def _described(claim: Claim[Spec], known: CatalogueEntry[Spec] | None) -> CatalogueEntry[Spec]:
    """Worker thread. The known entry if it is up to date, else a new one."""
    return known if known is not None and known.up_to_date else claim.describe()
