"""The catalogues of what is added to models: adapters in `loras/`, VAEs in `vae/` of each models folder."""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from ....domain.errors import UnknownAdapter, UnknownAsset, UnknownVae
from ....domain.models.adapters import AdapterSpec
from ....domain.models.overrides import ModelOverrides
from ....domain.models.spec import ModelSpec
from ....domain.models.vaes import VaeSpec
from ..asset_catalogue import AssetCatalogue
from ..fingerprint import Spec
from ..names import Names
from .addition_sources import AdditionFolder, AdditionSources
from .local_adapters import describe_adapter
from .local_vaes import describe_vae

ADAPTERS = AdditionFolder(kind="adapter", names=("loras", "lora", "lycoris"))
VAES = AdditionFolder(kind="vae", names=("vae",))


@dataclass(frozen=True, slots=True)
class Additions:
    """The adapters and VAEs that exist. Event loop only; files are read in worker threads."""

    adapters: AssetCatalogue[AdapterSpec]
    vaes: AssetCatalogue[VaeSpec]

    @classmethod
    def of(cls, directories: Sequence[Path], builtin: Path | None = None) -> "Additions":
        """Make the catalogues of some models folders without reading a file.

        Args:
            directories: the models folders; the earlier one wins a name.
            builtin: the one of the folders that ships with the package.
        """
        adapters = AdditionSources(ADAPTERS, directories, builtin, describe_adapter)
        vaes = AdditionSources(VAES, directories, builtin, describe_vae)
        return cls(
            AssetCatalogue(adapters, unknown=_unknown_adapter, annotate=_annotated_adapter),
            AssetCatalogue(vaes, unknown=_unknown_vae, annotate=_annotated_vae),
        )

    async def find_named(self, overrides: ModelOverrides) -> None:
        """Check the files of the adapters and the VAE that a sidecar names."""
        for choice in overrides.adapters or ():
            with suppress(UnknownAsset):
                await self.adapters.find(choice.name)
        if overrides.vae is not None:
            with suppress(UnknownAsset):
                await self.vaes.find(overrides.vae)

    def reason_against(self, model: ModelSpec) -> str | None:
        """Return why an adapter or the VAE that a model's sidecar names cannot be used with it; None if all can."""
        stated = model.overrides
        for choice in stated.adapters or ():
            if (reason := _reason(self.adapters.known(choice.name), model)) is not None:
                return f"its adapter {choice.name!r} {reason}"
        if stated.vae is not None and (reason := _reason(self.vaes.known(stated.vae), model)) is not None:
            return f"its VAE {stated.vae!r} {reason}"
        return None


def _reason(spec: AdapterSpec | VaeSpec | None, model: ModelSpec) -> str | None:
    if spec is None:
        return "is not in the models folder. Put its file there, or name another one in the sidecar"
    if spec.unusable is not None:
        return f"cannot be used: {spec.unusable}"
    if spec.reading is not None and model.traits.family and spec.reading.family != model.traits.family:
        return f"is for {spec.reading.family}, and the model is {model.traits.family}"
    return None


def _unknown_adapter(name: str, usable: Sequence[str], names: Names[AdapterSpec]) -> UnknownAdapter:
    return UnknownAdapter(name, _nearest(name, usable, names))


def _unknown_vae(name: str, usable: Sequence[str], names: Names[VaeSpec]) -> UnknownVae:
    return UnknownVae(name, _nearest(name, usable, names))


def _nearest(name: str, usable: Sequence[str], names: Names[Spec]) -> Sequence[str]:
    """Return the names that a spelling of several may mean, or all."""
    return names.meant_by(name) or usable


def _annotated_adapter(spec: AdapterSpec, hidden: tuple[str, ...], _: tuple[str, ...]) -> AdapterSpec:
    if spec.reading is None:
        return spec
    return replace(spec, reading=replace(spec.reading, evidence=(*spec.reading.evidence, *hidden)))


def _annotated_vae(spec: VaeSpec, hidden: tuple[str, ...], _: tuple[str, ...]) -> VaeSpec:
    if spec.reading is None:
        return spec
    return replace(spec, reading=replace(spec.reading, evidence=(*spec.reading.evidence, *hidden)))
