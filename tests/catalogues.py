"""Asks a catalogue from a test, whether an event loop runs in its thread or not."""

import asyncio
from collections.abc import Coroutine, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from litestar_diffusion.domain.models.spec import ModelSpec
from litestar_diffusion.infra.catalogue.models.catalogue import ModelCatalogue

_T = TypeVar("_T")


def everything(known: ModelCatalogue) -> Sequence[ModelSpec]:
    """Every entry, after a look at all files."""
    return _run(known.refresh())


def found(known: ModelCatalogue, name: str) -> ModelSpec:
    """An entry, after a look at its files."""
    return _run(known.find(name))


def _run(work: Coroutine[Any, Any, _T]) -> _T:
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, work).result()
