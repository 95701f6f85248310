"""The catalogue of models: local models, presets and Hub repositories under one set of names."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from ....domain.errors import UnknownAsset, UnknownModel
from ....domain.likely_name import likely_name
from ....domain.models.aliases import Aliases
from ....domain.models.overrides import preset_of
from ....domain.models.spec import HubModel, ModelName, ModelOverrides, ModelSpec
from ..additions.additions import Additions
from ..asset_catalogue import AssetCatalogue
from ..names import Names
from .sources import ModelSources


class ModelCatalogue:
    """Fulfils the `Catalogue` port. Event loop only; files are read in worker threads."""

    def __init__(
        self,
        *,
        directories: Sequence[Path],
        builtin: Path | None = None,
        overrides: Mapping[str, ModelOverrides],
        hub: Sequence[HubModel],
        hub_cache: Path | None = None,
        aliases: Aliases | None = None,
        additions: Additions | None = None,
    ) -> None:
        """Build a catalogue without reading a file.

        Args:
            directories: folders of local models; the earlier one wins a name. Missing folders are empty.
            builtin: the one of the folders that ships with the package.
            overrides: the settings' `[models.local.<name>]`.
            hub: the settings' `[[models.hub]]`.
            hub_cache: folder of downloaded repositories; None: huggingface_hub's own.
            aliases: other names of models; none if absent.
            additions: adapters and VAEs that sidecars may name; none if absent.
        """
        self._aliases = aliases or Aliases()
        self._additions = additions or Additions.of(())
        sources = ModelSources(
            directories=directories,
            builtin=builtin,
            overrides=overrides,
            hub=hub,
            hub_cache=hub_cache,
            aliases=self._aliases,
        )
        self._own = AssetCatalogue(sources, unknown=self._unknown, annotate=_annotated)

    async def list(self) -> Sequence[ModelSpec]:
        """List every entry in alphabetical order, as of the last scan; waits for the first scan."""
        return await self._completed(await self._own.list())

    async def refresh(self) -> Sequence[ModelSpec]:
        """Scan all files, and list every entry in alphabetical order. Simultaneous calls share one scan."""
        return await self._completed(await self._own.refresh())

    async def find(self, name: str, *, changed: bool = False) -> ModelSpec:
        """Find the entry of this name after checking its files: a few stats if nothing has changed.

        Args:
            name: of the entry, or an alias of it.
            changed: whether its files have just been written, so that time stamps may not tell.

        Raises:
            UnknownModel: with the usable names.
        """
        spec = await self._own.find(name, changed=changed)
        await self._find_named(spec)
        return self._complete(spec)

    def get(self, name: str) -> ModelSpec:
        """Return the entry of this name or alias as of the last check of its files.

        Raises:
            UnknownModel: with the usable names.
        """
        return self._complete(self._own.get(name))

    def mark_unusable(self, name: ModelName, version: str, reason: str) -> None:
        """Remember that this version of a model's files turned out to be broken; those of a preset are its base's."""
        spec = self._own.known(name)
        if spec is None or self._complete(spec).version != version:
            return
        base = self._own.known(spec.overrides.base) if spec.overrides.base is not None else spec
        if base is not None:
            self._own.mark_unusable(base.name, base.version, reason)

    async def _completed(self, specs: Sequence[ModelSpec]) -> Sequence[ModelSpec]:
        for spec in specs:
            await self._find_named(spec)
        return [self._complete(spec) for spec in specs]

    async def _find_named(self, spec: ModelSpec) -> None:
        """Check the files of the models, adapters and VAEs that an entry names."""
        if spec.overrides.base is not None:
            with suppress(UnknownAsset):
                await self._own.find(spec.overrides.base)
        await self._additions.find_named(spec.overrides)

    def _complete(self, spec: ModelSpec) -> ModelSpec:
        """Add what an entry takes from others."""
        stated = spec.overrides
        if stated.base is not None and spec.unusable is None:
            spec = self._preset(spec, stated.base)
        if spec.unusable is None and (reason := self._additions.reason_against(spec)) is not None:
            spec = replace(spec, unusable=reason)
        return spec

    def _preset(self, spec: ModelSpec, named: str) -> ModelSpec:
        base = self._own.known(named)
        if base is None:
            likely = likely_name(named, [known.name for known in self._own.snapshot() if known.overrides.base is None])
            hint = f" Did you mean {likely!r}?" if likely else ""
            return replace(spec, unusable=f"its base {named!r} is no model.{hint} See base in {spec.name}.toml")
        if base.overrides.base is not None:
            return replace(
                spec,
                unusable=f"its base {named!r} is a preset itself: name a model that has files, {base.overrides.base!r}",
            )
        if base.unusable is not None:
            return replace(spec, unusable=f"its base {named!r} cannot be used: {base.unusable}")
        return preset_of(base, spec)

    def _unknown(self, name: str, usable: Sequence[str], names: Names[ModelSpec]) -> UnknownModel:
        return UnknownModel(name, usable, chain=self._aliases.chain(name, names.claims)[1:])


def _annotated(spec: ModelSpec, hidden: tuple[str, ...], aliases: tuple[str, ...]) -> ModelSpec:
    return replace(spec, evidence=(*spec.evidence, *hidden), aliases=aliases)
