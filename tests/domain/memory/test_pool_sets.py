"""Sets of assets in the pool: a model and its adapters are leased together, and adapters are pooled beside models."""

import asyncio
from contextlib import AsyncExitStack
from dataclasses import replace

import pytest

from litestar_diffusion.domain.errors import (
    InsufficientMemory,
    LoadFailed,
    ModelInUse,
    UnknownAdapter,
    UnusableAdapter,
)
from litestar_diffusion.domain.memory.events import AssetLoaded, AssetUnloaded, event_facts, event_name
from litestar_diffusion.domain.memory.loading import BACK_OFF_S
from litestar_diffusion.domain.models.adapters import AdapterName, AdapterUse
from litestar_diffusion.domain.models.assets import AssetKey, AssetSet
from litestar_diffusion.domain.models.spec import ModelName
from litestar_diffusion.testing import adapter, component, model
from tests.domain.simulation import Simulation, beside, rounds, run, settles, simulate


async def use(sim: Simulation, name: str, *adapters: str) -> None:
    async with sim.pool.lease(name, beside=beside(*adapters)):
        pass


def residency(sim: Simulation, name: str) -> str:
    return sim.pool.asset_status(AssetKey("adapter", name)).residency


def set_of(name: str, *adapters: str) -> AssetSet:
    uses = tuple(AdapterUse(name=AdapterName(each), version="1", weight=1, text_weight=1) for each in adapters)
    return AssetSet(ModelName(name), uses)


def test_adapters_are_loaded_once_and_come_in_the_order_of_the_set() -> None:
    async def scenario() -> None:
        sim = simulate()
        async with AsyncExitStack() as leases:
            one, other = [
                await leases.enter_async_context(sim.pool.lease(name, beside=beside(*sides)))
                for name, sides in (("a", "yx"), ("b", "x"))
            ]
            assert [spec.name for spec in one.beside] == ["y", "x"]
            assert one.adapters[1] is other.adapters[0]
            assert all(sim.engine.is_on_device(each) for each in (*one.adapters, one.model))
        assert sim.engine.loads == ["a", "y", "x", "b"]
        sim.check_idle()

    run(scenario)


def test_an_adapter_counts_on_each_tier_and_leaves_before_what_was_used_later() -> None:
    async def scenario() -> None:
        sim = simulate(device_nbytes=140)
        await use(sim, "a", "x", "y")
        assert sim.pool.stats().device_nbytes == 140
        await use(sim, "a", "z")
        assert [residency(sim, name) for name in "xyz"] == ["host", "device", "device"]
        await use(sim, "b")
        assert sim.residencies("a", "b") == ["host", "device"]
        assert sim.engine.peak_nbytes <= 140

    run(scenario)


def test_a_leased_adapter_is_not_evicted_also_while_its_model_is_not_wanted_by_others() -> None:
    async def scenario() -> None:
        sim = simulate(host_nbytes=140, shares=True)
        async with sim.pool.lease("a", beside=beside("x")):
            waiting = asyncio.create_task(use(sim, "a", "y", "z"))
            assert not await settles(waiting)
            assert residency(sim, "x") == "device"
        await waiting
        assert residency(sim, "x") == "cold"

    run(scenario)


def test_two_sets_that_want_each_others_adapters_do_not_wait_for_ever() -> None:
    async def scenario() -> None:
        sim = simulate(host_nbytes=130, shares=True)
        await asyncio.gather(*(use(sim, "a", *sides) for sides in ("x", "y", "x", "yx", "xy", "z") if len(sides) < 2))
        sim.check_idle()

    run(scenario)


def test_a_set_that_could_never_fit_is_refused_with_its_names_and_leaves_nothing() -> None:
    async def scenario() -> None:
        sim = simulate(host_nbytes=130, shares=True)
        with pytest.raises(InsufficientMemory, match=r"Model 'a' with adapter 'x', adapter 'y' needs.*fewer adapters"):
            await use(sim, "a", "x", "y")
        await use(sim, "a", "x")
        sim.check_idle()

    run(scenario)


def test_an_unknown_or_unusable_adapter_is_told_by_name_and_nothing_is_loaded() -> None:
    async def scenario() -> None:
        sim = simulate()
        with pytest.raises(UnknownAdapter, match="no adapter named 'xx'"):
            await use(sim, "a", "x", "xx")
        sim.adapters.put(replace(adapter("x"), unusable="it is for Flux"))
        with pytest.raises(UnusableAdapter, match="Adapter 'x' cannot be used: it is for Flux"):
            await use(sim, "a", "x")
        assert sim.engine.loads == []
        assert sim.pool.stats().waiting == 0

    run(scenario)


def test_a_failed_adapter_costs_the_model_nothing_and_is_not_tried_again_at_once() -> None:
    async def scenario() -> None:
        sim = simulate()
        sim.engine.failures["load_adapter"] = LoadFailed("injected")
        for _ in range(2):
            with pytest.raises(LoadFailed, match="injected"):
                await use(sim, "a", "x")
        assert sim.engine.loads == ["a", "x"]
        await use(sim, "a", "y")
        sim.clock.now += BACK_OFF_S
        await use(sim, "a", "x")
        sim.check_idle()

    run(scenario)


def test_a_broken_file_is_remembered_in_the_catalogue_of_adapters() -> None:
    async def scenario() -> None:
        sim = simulate()
        sim.engine.failures["load_adapter"] = UnusableAdapter("x", "a tensor is missing")
        with pytest.raises(UnusableAdapter):
            await use(sim, "a", "x")
        assert sim.adapters.get("x").unusable == "a tensor is missing"

    run(scenario)


def test_a_new_version_of_an_adapter_is_loaded_beside_the_one_in_use() -> None:
    async def scenario() -> None:
        sim = simulate()
        async with sim.pool.lease("a", beside=beside("x")) as old:
            sim.adapters.put(replace(adapter("x"), version="2"))
            async with sim.pool.lease("a", beside=beside("x")) as new:
                assert new.adapters[0] is not old.adapters[0]
                assert [spec.version for spec in (*old.beside, *new.beside)] == ["1", "2"]
        await rounds()
        assert sim.pool.stats().host_nbytes == 110
        sim.check_idle()

    run(scenario)


def test_a_model_and_an_adapter_of_the_same_name_are_two_assets() -> None:
    async def scenario() -> None:
        sim = simulate()
        sim.adapters.put(adapter("a"))
        await use(sim, "a", "a")
        assert sim.engine.loads == ["a", "a"]
        assert [str(key) for key, _ in sim.pool.report().assets] == ["model 'a'", "adapter 'a'"]
        await sim.pool.unload("a")
        assert (sim.residencies("a"), residency(sim, "a")) == (["cold"], "device")

    run(scenario)


def test_adapters_of_the_same_weights_share_them() -> None:
    async def scenario() -> None:
        sim = simulate(components=dict.fromkeys(("x", "y"), (component("twin", 20, "adapter"),)))
        await use(sim, "a", "x", "y")
        assert sim.pool.stats().host_nbytes == 120
        await sim.pool.unload_asset(AssetKey("adapter", "x"))
        assert sim.pool.stats().host_nbytes == 120
        sim.check_idle()

    run(scenario)


def test_an_adapter_in_use_is_not_unloaded() -> None:
    async def scenario() -> None:
        sim = simulate()
        async with sim.pool.lease("a", beside=beside("x")):
            with pytest.raises(ModelInUse, match="Adapter 'x' is in use by 1 requests"):
                await sim.pool.unload_asset(AssetKey("adapter", "x"), wait=False)
        assert await sim.pool.unload_asset(AssetKey("adapter", "x"))
        assert not await sim.pool.unload_asset(AssetKey("adapter", "x"))
        assert sim.residencies("a") == ["device"]

    run(scenario)


def test_adapters_that_waiting_requests_want_are_evicted_last() -> None:
    async def scenario() -> None:
        sim = simulate(host_nbytes=140, shares=True)
        await use(sim, "a", "x", "y")
        sim.pool.set_lookahead([set_of("a", "x")])
        assert not sim.pool.can_admit("a", beside=beside("y", "z"))  # x would have to leave
        assert sim.pool.can_admit("a", beside=beside("x", "z"))
        await use(sim, "a", "z")
        assert [residency(sim, name) for name in "xyz"] == ["device", "cold", "device"]

    run(scenario)


def test_a_preview_tells_which_adapters_would_be_read() -> None:
    async def scenario() -> None:
        sim = simulate(host_nbytes=140, shares=True)
        await use(sim, "a", "x", "y")
        preview = sim.pool.preview_evictions("a", beside=beside("x", "z"))
        assert [key.name for key in preview.cold] == ["z"]
        assert [(str(each.asset), each.nbytes) for each in preview.evictions] == [("adapter 'y'", 20)]

    run(scenario)


def test_activations_of_requests_with_different_adapters_on_one_model_add_up() -> None:
    async def scenario() -> None:
        sim = simulate()
        async with (
            sim.pool.lease("a", 10, together_nbytes=10, beside=beside("x")),
            sim.pool.lease("a", 10, together_nbytes=10, beside=beside("x", "y")),
        ):
            assert (sim.pool.stats().reserved_nbytes, sim.pool.stats().leases) == (20, 2)
        sim.check_idle()

    run(scenario)


def test_activations_of_a_preset_and_its_base_add_up_because_they_run_together() -> None:
    async def scenario() -> None:
        parts = (component("unet", 70),)
        sim = simulate(host_nbytes=400, shares=True, components={"a": parts, "preset": parts})
        base = model("a")
        sim.catalogue.put(replace(base, name=ModelName("preset"), version="1.1", files_version=base.version))
        async with sim.pool.lease("a", 10, together_nbytes=10), sim.pool.lease("preset", 10, together_nbytes=10):
            assert sim.pool.stats().reserved_nbytes == 20
        async with sim.pool.lease("a", 10, together_nbytes=10), sim.pool.lease("b", 10, together_nbytes=10):
            assert sim.pool.stats().reserved_nbytes == 10
        sim.check_idle()

    run(scenario)


def test_a_preset_of_a_model_that_is_there_evicts_nothing() -> None:
    async def scenario() -> None:
        parts = (component("unet", 70), component("vae", 30, "vae"))
        sim = simulate(host_nbytes=130, shares=True, components={"a": parts, "preset": parts})
        base = model("a")
        sim.catalogue.put(replace(base, name=ModelName("preset"), version="1.1", files_version=base.version))
        await sim.pool.load("a")
        assert sim.pool.preview_evictions("preset", beside=beside("x")).evictions == ()
        await use(sim, "preset", "x")
        assert sim.residencies("a", "preset") == ["device", "device"]
        assert sim.pool.stats().host_nbytes == 120
        sim.check_idle()

    run(scenario)


def test_idle_adapters_leave_with_time() -> None:
    async def scenario() -> None:
        sim = simulate()
        await use(sim, "a", "x")
        sim.clock.now += 500
        await use(sim, "a")
        await sim.pool.unload_idle(400)
        assert (sim.residencies("a"), residency(sim, "x")) == (["device"], "cold")

    run(scenario)


def test_events_name_an_adapter_as_one() -> None:
    async def scenario() -> None:
        sim = simulate()
        await use(sim, "a", "x")
        await sim.pool.unload_asset(AssetKey("adapter", "x"))
        told = [
            (event_name(event), event_facts(event)[event.asset.kind])
            for event in sim.events
            if isinstance(event, AssetLoaded | AssetUnloaded)
        ]
        assert told == [("model_loaded", "a"), ("adapter_loaded", "x"), ("adapter_unloaded", "x")]
        assert model("a").name == ModelName("a")

    run(scenario)
