"""Leases: the right to use assets that are in memory."""

from dataclasses import dataclass, replace

from ..models.assets import AssetKey, AssetKind, AssetSet, AssetSpec, key_of
from ..models.components import LoadedModel
from ..models.spec import ModelSpec, Residency
from .ledger import PooledAsset


@dataclass(frozen=True, slots=True, kw_only=True)
class Lease:
    """The right to use a model, and what is added to it, on the device, until the `async with` block ends."""

    spec: ModelSpec
    model: LoadedModel
    beside: tuple[AssetSpec, ...]
    """Entries of the assets that are added to the model, in the order in which they were named."""
    adapters: tuple[LoadedModel, ...]
    """The adapters among them, in the same order."""
    vae: LoadedModel | None
    """The VAE among them."""
    found: Residency
    """Residency of the model when the request took it."""
    load_s: float
    """Seconds spent on loading and bringing the model to the device."""
    wait_s: float
    """Seconds spent waiting for memory that other requests held."""

    @property
    def keys(self) -> tuple[AssetKey, ...]:
        """Keys of all its assets, the model first."""
        return tuple(key_of(spec) for spec in (self.spec, *self.beside))

    @property
    def versions(self) -> dict[AssetKey, str]:
        """Version of each of its assets."""
        return {key_of(spec): spec.version for spec in (self.spec, *self.beside)}

    def leased(self, assets: AssetSet) -> AssetSet:
        """Return a set with the versions of this lease: a file may have changed while the request waited."""
        versions = self.versions
        adapters = tuple(replace(use, version=versions[AssetKey("adapter", use.name)]) for use in assets.adapters)
        vae = assets.vae
        if vae is not None:
            vae = replace(vae, version=versions[AssetKey("vae", vae.name)])
        return replace(assets, adapters=adapters, vae=vae)

    @property
    def nbytes(self) -> int:
        """Bytes of all its weights, shared ones once."""
        loaded = (self.model, *self.adapters, *([self.vae] if self.vae is not None else []))
        return sum({part.id: part.nbytes for each in loaded for part in each.components}.values())


@dataclass(frozen=True, slots=True)
class Held:
    """Assets that a reservation holds on its tier."""

    assets: tuple[PooledAsset, ...]
    """What leads the set first."""
    found: Residency
    """Residency of the first asset before."""
    load_s: float
    wait_s: float

    def lease(self) -> Lease:
        """Make the lease of a set that a model leads."""
        spec, model = self.assets[0].spec, self.assets[0].loaded
        assert isinstance(spec, ModelSpec)
        assert model is not None
        return Lease(
            spec=spec,
            model=model,
            beside=tuple(pooled.spec for pooled in self.assets[1:]),
            adapters=self.loaded("adapter"),
            vae=next(iter(self.loaded("vae")), None),
            found=self.found,
            load_s=self.load_s,
            wait_s=self.wait_s,
        )

    def loaded(self, kind: AssetKind) -> tuple[LoadedModel, ...]:
        """List what is loaded of one kind, in the order of the set."""
        return tuple(pooled.loaded for pooled in self.assets if pooled.key.kind == kind and pooled.loaded is not None)
