"""Adapters of SDXL models in memory."""

from dataclasses import dataclass

from ...domain.families.reading import NotServable
from ...domain.models.adapters import AdapterSpec
from ...domain.models.components import Component, OnLoad
from ..diffusion.load_context import Loading


@dataclass(slots=True, kw_only=True)
class SdxlAdapter:
    """An adapter in memory."""

    components: tuple[Component, ...]


def load_adapter(spec: AdapterSpec, on_load: OnLoad, loading: Loading) -> SdxlAdapter:  # noqa: ARG001
    """Read an adapter into host memory."""
    raise NotServable("adapters cannot be loaded yet")
