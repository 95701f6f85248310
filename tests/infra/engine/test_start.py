"""The start of the engine takes all slow imports upon itself, in its own thread."""

import asyncio
import threading

import pytest

from litestar_diffusion.domain.families import registry
from litestar_diffusion.infra.engine import family as runtimes
from litestar_diffusion.infra.hub.fetcher import HubFetcher
from tests.infra.engine.one_engine import one_engine
from tests.toy.family import TOY


def test_the_runtimes_of_all_families_are_imported_in_the_thread_of_the_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    """The event loop asks a runtime for the size of a model; if it had to import it first, no other request were answered."""
    seen: list[tuple[str, str]] = []
    monkeypatch.setattr(registry, "FAMILIES", ["tests.toy.family:TOY"])
    monkeypatch.setattr(runtimes, "imported", lambda path: seen.append((path, threading.current_thread().name)))

    async def start() -> None:
        engine = one_engine(device="cpu", dtype="auto", threads=0, fetch=HubFetcher(cache=None, offline=True))
        await engine.start()
        await engine.stop()

    asyncio.run(start())
    assert seen == [(TOY.runtime, "engine_0"), (registry.upscalers().runtime, "engine_0")]


def test_a_runtime_that_cannot_be_imported_does_not_keep_the_engine_from_its_start(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def missing(_path: str) -> None:
        raise ImportError("no such package")

    monkeypatch.setattr(runtimes, "imported", missing)
    runtimes.import_runtimes()
