"""The `Catalogue` port: which models exist."""

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from .spec import ModelName, ModelSpec


@runtime_checkable
class Catalogue(Protocol):
    """The models that exist. Files are read in threads; event loop only."""

    async def list(self) -> Sequence[ModelSpec]:
        """List every entry in alphabetical order, unusable ones included, as of the last scan."""
        ...

    async def refresh(self) -> Sequence[ModelSpec]:
        """Scan all files, and list every entry."""
        ...

    async def find(self, name: str, *, changed: bool = False) -> ModelSpec:
        """Find the entry of this name after checking its files. Every request begins with it.

        Args:
            name: of the entry, or an alias; the entry has the model's own name.
            changed: whether its files have just been written, so that time stamps may not tell.

        Raises:
            UnknownModel: with the names that exist.
        """
        ...

    def get(self, name: str) -> ModelSpec:
        """Return the entry of this name or alias as of the last check of its files. Reads nothing.

        Raises:
            UnknownModel: with the names that exist.
        """
        ...

    def mark_unusable(self, name: ModelName, version: str, reason: str) -> None:
        """Remember that this version of the files turned out to be broken."""
        ...
