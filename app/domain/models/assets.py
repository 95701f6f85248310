"""Assets: models, and what is added to one. What a request runs with is a set of them."""

from dataclasses import dataclass
from typing import Literal

from ..errors import UnusableAdapter, UnusableAsset, UnusableModel, UnusableVae
from .adapters import AdapterSpec, AdapterUse
from .spec import ModelName, ModelSpec
from .vaes import VaeSpec, VaeUse

AssetKind = Literal["model", "adapter", "vae"]
AssetSpec = ModelSpec | AdapterSpec | VaeSpec
"""A catalogue entry of any kind."""


@dataclass(frozen=True, slots=True)
class AssetKey:
    """Name of an asset among all kinds: a model and an adapter may have the same name."""

    kind: AssetKind
    name: str

    def __str__(self) -> str:
        """Write the kind and the name, as messages do."""
        return f"{KIND_TITLES[self.kind]} {self.name!r}"


KIND_TITLES: dict[AssetKind, str] = {"model": "model", "adapter": "adapter", "vae": "VAE"}


@dataclass(frozen=True, slots=True)
class AssetSet:
    """A model and the assets that are added to it for one request. A lease holds all of a set.

    Requests of one lane have the same weights only: adapters act beside them, on their own rows, and a VAE after the last step.
    """

    model: ModelName
    adapters: tuple[AdapterUse, ...] = ()
    """In the order in which they were named; the order changes no picture."""
    vae: VaeUse | None = None
    """VAE that replaces the model's own."""
    base: ModelName | None = None
    """Model whose weights these are, if `model` is a preset of it."""

    @property
    def weights_of(self) -> ModelName:
        """Name of the model whose weights run: equal for a model and its presets."""
        return self.base or self.model

    @property
    def beside(self) -> tuple[AssetKey, ...]:
        """Keys of all assets but the model, the adapters in their order first."""
        adapters = tuple(AssetKey("adapter", use.name) for use in self.adapters)
        return adapters if self.vae is None else (*adapters, AssetKey("vae", self.vae.name))

    @property
    def versions_beside(self) -> dict[AssetKey, str]:
        """Version of each of these assets."""
        uses = self.adapters if self.vae is None else (*self.adapters, self.vae)
        return {key: use.version for key, use in zip(self.beside, uses, strict=True)}


def key_of(spec: AssetSpec) -> AssetKey:
    """Return the key of a catalogue entry."""
    match spec:
        case ModelSpec():
            return AssetKey("model", spec.name)
        case AdapterSpec():
            return AssetKey("adapter", spec.name)
        case VaeSpec():
            return AssetKey("vae", spec.name)


def unusable(key: AssetKey, reason: str) -> UnusableAsset:
    """Make the error that an asset cannot be used."""
    kinds: dict[AssetKind, type[UnusableAsset]] = {
        "model": UnusableModel,
        "adapter": UnusableAdapter,
        "vae": UnusableVae,
    }
    return kinds[key.kind](key.name, reason)
