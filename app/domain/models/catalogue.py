"""The `Catalogue` port: which models exist."""

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from .spec import ModelName, ModelSpec


@runtime_checkable
class Catalogue(Protocol):
    """The models that exist. Synchronous, reads headers only, milliseconds; callable from any thread."""

    def list(self) -> Sequence[ModelSpec]:
        """Every entry, unusable ones included, in alphabetical order. Notices changes on disk."""
        ...

    def get(self, name: str) -> ModelSpec:
        """The entry of this name.

        Raises:
            UnknownModel: with the names that exist.
        """
        ...

    async def refresh(self) -> Sequence[ModelSpec]:
        """Every entry, as the files are now."""
        ...

    async def find(self, name: str) -> ModelSpec:
        """The entry of this name as its files are now. What every request calls first.

        Raises:
            UnknownModel: with the names that exist.
        """
        ...

    def mark_unusable(self, name: ModelName, version: str, reason: str) -> None:
        """Remember that this version of the files turned out to be broken."""
        ...
