"""Asks a catalogue from tests that have no event loop."""

import asyncio
from collections.abc import Sequence

from litestar_diffusion.domain.models.spec import ModelSpec
from litestar_diffusion.infra.catalogue.catalogue import ModelCatalogue


def everything(known: ModelCatalogue) -> Sequence[ModelSpec]:
    """Every entry, after a look at all files."""
    return asyncio.run(known.refresh())


def found(known: ModelCatalogue, name: str) -> ModelSpec:
    """An entry, after a look at its files."""
    return asyncio.run(known.find(name))
