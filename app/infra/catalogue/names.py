"""Names of assets, and which file, folder or repository gets which."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Generic

from .fingerprint import CatalogueEntry, Spec


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim(Generic[Spec]):
    """A file, a folder or a repository that is to be listed under a name."""

    name: str
    origin: str
    """Path, or `hub:<name>`; unique."""
    title: str
    """Description for clients, without the server's paths."""
    describe: Callable[[], CatalogueEntry[Spec]]
    """Reads the files."""
    hides: tuple[str, ...] = ()
    """Titles of the weaker claims to the same name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Names(Generic[Spec]):
    """Winners of the names at one moment."""

    claims: Mapping[str, Claim[Spec]]
    folders: tuple[Path, ...] = ()
    """The folders that were searched."""
    stamps: tuple[str | None, ...]
    """Stamps of the folders, taken before they were read, so that a change during the read shows later."""
    aliases: Mapping[str, str] = field(default_factory=dict[str, str])
    """Names of claims by alias."""
    spellings: Mapping[str, tuple[str, ...]] = field(default_factory=dict[str, tuple[str, ...]])
    """Names of claims by other spellings, in lower case; a spelling that may mean several means none."""

    def claim(self, name: str) -> Claim[Spec] | None:
        """Return the claim of a name, an alias or another spelling."""
        exact = self.claims.get(self.aliases.get(name, name))
        meant = self.meant_by(name)
        return exact if exact is not None or len(meant) != 1 else self.claims[meant[0]]

    def meant_by(self, name: str) -> tuple[str, ...]:
        """Return the names of claims that a spelling may mean."""
        return self.spellings.get(name.casefold(), ())

    def aliases_of(self, name: str) -> tuple[str, ...]:
        """Return the aliases of a claim."""
        return tuple(alias for alias, target in self.aliases.items() if target == name)
