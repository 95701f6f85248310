"""Upscalers in the pool: names of their own beside those of models, which hold no colon."""

from collections.abc import Sequence
from dataclasses import replace

from .catalogue import Catalogue
from .spec import ModelName, ModelSpec

_PREFIX = "upscaler:"


def pooled_name(upscaler: str) -> ModelName:
    """Return the name that an upscaler has in the pool, the logs and the metrics."""
    return ModelName(f"{_PREFIX}{upscaler}")


def own_name(pooled: str) -> str | None:
    """Return an upscaler's own name from its name in the pool; None for a model."""
    return pooled.removeprefix(_PREFIX) if pooled.startswith(_PREFIX) else None


class PooledCatalogue:
    """Fulfils `Catalogue` for the pool: models, and upscalers under the names that they have there. Lists models alone."""

    def __init__(self, models: Catalogue, upscalers: Catalogue) -> None:
        self._models = models
        self._upscalers = upscalers

    async def list(self) -> Sequence[ModelSpec]:
        """List every model; see `Catalogue.list`."""
        return await self._models.list()

    async def refresh(self) -> Sequence[ModelSpec]:
        """Scan all files of models; see `Catalogue.refresh`."""
        return await self._models.refresh()

    async def find(self, name: str, *, changed: bool = False) -> ModelSpec:
        """Find the entry of a name in the pool after checking its files."""
        if (upscaler := own_name(name)) is None:
            return await self._models.find(name, changed=changed)
        return _pooled(await self._upscalers.find(upscaler, changed=changed))

    def get(self, name: str) -> ModelSpec:
        """Return the entry of a name in the pool as of the last check of its files."""
        if (upscaler := own_name(name)) is None:
            return self._models.get(name)
        return _pooled(self._upscalers.get(upscaler))

    def mark_unusable(self, name: ModelName, version: str, reason: str) -> None:
        """Remember that this version of the files turned out to be broken."""
        upscaler = own_name(name)
        if upscaler is None:
            self._models.mark_unusable(name, version, reason)
        else:
            self._upscalers.mark_unusable(ModelName(upscaler), version, reason)


def _pooled(spec: ModelSpec) -> ModelSpec:
    return replace(spec, name=pooled_name(spec.name))
