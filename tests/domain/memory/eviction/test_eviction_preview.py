"""What is foretold of a lease is what the lease then does, and foretelling it changes nothing."""

import asyncio
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import replace

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from litestar_diffusion.domain.errors import DiffusionError, InsufficientMemory, LoadFailed, UnusableModel
from litestar_diffusion.domain.memory.events import AssetOffloaded, AssetUnloaded
from litestar_diffusion.domain.memory.eviction.eviction_preview import EvictionPreview
from litestar_diffusion.testing import component, model
from tests.domain.simulation import ADAPTERS, NAMES, Simulation, beside, rounds, run, sdxl, simulate

MODELS = st.sampled_from(NAMES)
BUDGETS = st.sampled_from([None, 150, 200, 260, 330])


def left(sim: Simulation, since: int) -> list[tuple[str, str, int]]:
    """What has left since an event: model, tier, bytes."""
    return [
        (event.asset.name, "host" if isinstance(event, AssetUnloaded) else "device", event.nbytes)
        for event in sim.events[since:]
        if isinstance(event, AssetUnloaded | AssetOffloaded)
    ]


def evictions_of(eviction_preview: EvictionPreview) -> list[tuple[str, str, int]]:
    return [(one.asset.name, one.tier, one.nbytes) for one in eviction_preview.evictions]


def state(sim: Simulation) -> object:
    """Everything on the books but the time that passes."""
    report = sim.pool.report()
    parts = [replace(part, last_used_s_ago=None) for part in report.components]
    assets = [(key, replace(status, last_used_s_ago=None)) for key, status in report.assets]
    return report.budget, report.stats, parts, assets


async def outcome(sim: Simulation, name: str, nbytes: int, sides: Sequence[str] = ()) -> str:
    """How a lease ends: granted, refused, or it would wait."""

    async def use() -> None:
        async with sim.pool.lease(name, nbytes, beside=beside(*sides)):
            pass

    task = asyncio.create_task(use())
    await rounds(200)
    if not task.done():
        task.cancel()
        await asyncio.wait([task])
        return "waits"
    if (error := task.exception()) is not None:
        assert isinstance(error, DiffusionError)
        return error.code
    return "granted"


def lookahead(
    sim: Simulation, name: str, nbytes: int, sides: Sequence[str] = ()
) -> tuple[str, list[tuple[str, str, int]], str]:
    try:
        eviction_preview = sim.pool.preview_evictions(name, nbytes, beside=beside(*sides))
    except DiffusionError as error:
        return error.code, [], ""
    return "waits" if eviction_preview.waits else "granted", evictions_of(eviction_preview), eviction_preview.residency


@example(  # nor is more evicted than it leaves short
    shares=False,
    sharing=False,
    device=200,
    host=None,
    used=[("a", []), ("b", [])],
    held=[],
    pinned=set(),
    changed={"a"},
    name="a",
    sides=[],
    nbytes=10,
)
@example(  # an outdated version leaves both tiers by itself, and its copy is not dropped again
    shares=False,
    sharing=False,
    device=150,
    host=None,
    used=[("a", [])],
    held=[],
    pinned=set(),
    changed={"a"},
    name="a",
    sides=[],
    nbytes=0,
)
@given(
    shares=st.booleans(),
    sharing=st.booleans(),
    device=BUDGETS,
    host=BUDGETS,
    used=st.lists(st.tuples(MODELS, st.lists(st.sampled_from(ADAPTERS), max_size=2, unique=True)), max_size=6),
    held=st.lists(MODELS, max_size=2),
    pinned=st.sets(MODELS, max_size=2),
    changed=st.sets(MODELS, max_size=1),
    name=MODELS,
    sides=st.lists(st.sampled_from(ADAPTERS), max_size=2, unique=True),
    nbytes=st.sampled_from([0, 10, 60, 200]),
)
@settings(max_examples=300, deadline=None)
def test_a_lease_does_what_was_foretold(
    shares: bool,
    sharing: bool,
    device: int | None,
    host: int | None,
    used: Sequence[tuple[str, Sequence[str]]],
    held: Sequence[str],
    pinned: set[str],
    changed: set[str],
    name: str,
    sides: Sequence[str],
    nbytes: int,
) -> None:
    async def scenario() -> None:
        sim = simulate(device, host, shares=shares, components={each: sdxl(each) for each in NAMES} if sharing else {})
        async with AsyncExitStack() as leases:
            for each, added in used:
                if await outcome(sim, each, 0, added) == "granted" and each in pinned:
                    sim.pool.pin(each)
            for each in held:
                if lookahead(sim, each, 0)[0] == "granted":
                    await leases.enter_async_context(sim.pool.lease(each))
            for each in changed:
                sim.catalogue.put(replace(model(each), version="2"))
            await rounds()
            before, events = state(sim), len(sim.events)
            ending, leaving, residency = lookahead(sim, name, nbytes, sides)
            assert state(sim) == before
            assert len(sim.events) == events
            if residency and not changed:
                assert residency == sim.residencies(name)[0]
            assert await outcome(sim, name, nbytes, sides) == ending
            if ending == "granted":
                assert left(sim, events) == leaving

    run(scenario)


def test_an_evicted_model_frees_only_what_no_other_has() -> None:
    async def scenario() -> None:
        sim = simulate(host_nbytes=270, components={each: sdxl(each) for each in NAMES})
        for each in ("a", "b"):
            await sim.pool.load(each)
        assert sim.pool.preview_evictions("c").evictions == ()
        sim.engine.components["c"] = (component("large", 150),)
        (eviction,) = sim.pool.preview_evictions("c").evictions
        assert (eviction.asset.name, eviction.tier, eviction.components, eviction.nbytes) == (
            "a",
            "host",
            ("unet",),
            60,
        )

    run(scenario)


def test_refusals_are_those_of_a_lease() -> None:
    async def scenario() -> None:
        sim = simulate(150)
        with pytest.raises(InsufficientMemory):
            sim.pool.preview_evictions("a", 60)
        sim.engine.failures["load"] = LoadFailed("injected")
        with pytest.raises(LoadFailed):
            await sim.pool.load("a")
        with pytest.raises(LoadFailed, match="injected"):
            sim.pool.preview_evictions("a")
        sim.clock.now += 1000
        assert sim.pool.preview_evictions("a").residency == "cold"
        sim.catalogue.put(replace(model("b"), unusable="it is a pickle"))
        with pytest.raises(UnusableModel, match="pickle"):
            sim.pool.preview_evictions("b")

    run(scenario)


def test_while_a_model_is_in_use_another_waits_for_its_memory() -> None:
    async def scenario() -> None:
        sim = simulate(100)
        async with sim.pool.lease("a"):
            assert sim.pool.preview_evictions("b").waits
        eviction_preview = sim.pool.preview_evictions("b")
        assert (eviction_preview.waits, evictions_of(eviction_preview)) == (False, [("a", "device", 100)])

    run(scenario)
