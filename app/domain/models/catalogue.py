"""The catalogue ports: which models exist, and which adapters and VAEs can be added to them."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol, TypeVar, runtime_checkable

from .adapters import AdapterSpec
from .assets import AssetKey, AssetSpec
from .spec import ModelName, ModelSpec
from .upscalers import own_name
from .vaes import VaeSpec

_Spec_co = TypeVar("_Spec_co", covariant=True)


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


class AdditionCatalogue(Protocol[_Spec_co]):
    """The assets of one kind that are added to models. Files are read in threads; event loop only."""

    async def list(self) -> Sequence[_Spec_co]:
        """List every entry in alphabetical order, unusable ones included, as of the last scan."""
        ...

    async def refresh(self) -> Sequence[_Spec_co]:
        """Scan all files, and list every entry."""
        ...

    def snapshot(self) -> Sequence[_Spec_co]:
        """List every entry in alphabetical order as far as files have been read. Reads nothing."""
        ...

    async def find(self, name: str) -> _Spec_co:
        """Find the entry of this name after checking its file.

        Args:
            name: of the entry, or the stem of its file, in any case.

        Raises:
            UnknownAsset: with the names that exist.
        """
        ...

    def get(self, name: str) -> _Spec_co:
        """Return the entry of this name as of the last check of its file. Reads nothing.

        Raises:
            UnknownAsset: with the names that exist.
        """
        ...

    def mark_unusable(self, name: str, version: str, reason: str) -> None:
        """Remember that this version of the file turned out to be broken."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Catalogues:
    """The catalogues of all kinds of assets."""

    models: Catalogue
    adapters: AdditionCatalogue[AdapterSpec]
    vaes: AdditionCatalogue[VaeSpec]
    upscalers: Catalogue
    """Leased alone, as models are, under the names of `upscalers.pooled_name`."""

    def get(self, key: AssetKey) -> AssetSpec:
        """Return the entry of an asset as of the last check of its files. Reads nothing.

        Raises:
            UnknownAsset: no such entry.
        """
        match key.kind:
            case "model" if (upscaler := own_name(key.name)) is not None:
                return replace(self.upscalers.get(upscaler), name=ModelName(key.name))
            case "model":
                return self.models.get(key.name)
            case "adapter":
                return self.adapters.get(key.name)
            case "vae":
                return self.vaes.get(key.name)

    def mark_unusable(self, key: AssetKey, version: str, reason: str) -> None:
        """Remember that this version of an asset's files turned out to be broken."""
        match key.kind:
            case "model" if (upscaler := own_name(key.name)) is not None:
                self.upscalers.mark_unusable(upscaler, version, reason)
            case "model":
                self.models.mark_unusable(ModelName(key.name), version, reason)
            case "adapter":
                self.adapters.mark_unusable(key.name, version, reason)
            case "vae":
                self.vaes.mark_unusable(key.name, version, reason)
