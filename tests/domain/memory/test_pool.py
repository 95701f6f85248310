"""The pool on a simulated device: single loads, leases, eviction, sharing, pins, failures, changed files."""

import asyncio
from dataclasses import replace

import pytest

from litestar_diffusion.domain.errors import InsufficientMemory, LoadFailed, ModelInUse, OutOfMemory, UnusableModel
from litestar_diffusion.domain.memory.budget import Budget
from litestar_diffusion.domain.memory.events import AssetOffloaded, LeaseGranted, LeaseOverdue
from litestar_diffusion.domain.memory.loading import BACK_OFF_S
from litestar_diffusion.domain.models.components import LoadedModel
from litestar_diffusion.domain.models.spec import HubRepository
from litestar_diffusion.testing import FakeEngine, component, model
from tests.domain.simulation import NAMES, rounds, run, sdxl, settles, simulate


def test_a_model_is_loaded_once_however_many_wait() -> None:
    async def scenario() -> None:
        sim = simulate()
        founds = await asyncio.gather(*(sim.pool.load("a") for _ in range(20)))
        assert sim.engine.loads == ["a"]
        assert founds[0] == "cold"
        assert await sim.pool.load("a") == "device"
        sim.check_idle()

    run(scenario)


def test_the_least_recently_used_idle_model_makes_room_and_stays_warm() -> None:
    async def scenario() -> None:
        sim = simulate(200)
        for name in ("a", "b", "a", "c"):
            await sim.pool.load(name)
        assert sim.residencies("a", "b", "c") == ["device", "host", "device"]
        assert await sim.pool.load("b") == "host"
        assert sim.engine.loads == ["a", "b", "c"]
        assert sim.engine.peak_nbytes <= 200

    run(scenario)


@pytest.mark.parametrize("shares", [False, True], ids=["device of its own", "device is the host"])
def test_the_report_numbers_components_in_the_order_in_which_they_would_leave(shares: bool) -> None:
    async def scenario() -> None:
        sim = simulate(400, shares=shares)
        for name in ("a", "b", "a", "c"):
            await sim.pool.load(name)
        sim.pool.pin("c")
        places = {one.owners[0].name: one.eviction_place for one in sim.pool.report().components}
        assert places == {"b": 1, "a": 2, "c": None}
        async with sim.pool.lease("b", 0):
            places = {one.owners[0].name: one.eviction_place for one in sim.pool.report().components}
            assert places == {"b": None, "a": 1, "c": None}

    run(scenario)


def test_where_the_device_is_the_host_an_evicted_model_is_freed() -> None:
    async def scenario() -> None:
        sim = simulate(100, shares=True)
        await sim.pool.load("a")
        await sim.pool.load("b")
        assert sim.residencies("a", "b") == ["cold", "device"]
        assert sim.pool.stats().host_nbytes == 100
        assert await sim.pool.load("a") == "cold"
        assert sim.engine.loads == ["a", "b", "a"]

    run(scenario)


def test_the_host_budget_holds_too_and_bounds_what_is_being_loaded() -> None:
    async def scenario() -> None:
        sim = simulate(host_nbytes=250)
        await asyncio.gather(*(sim.pool.load(name) for name in NAMES))
        assert sim.engine.host_nbytes == 200
        assert sim.residencies(*NAMES).count("cold") == 2
        sim.check_idle()

    run(scenario)


def test_a_leased_model_is_not_evicted_and_the_other_waits() -> None:
    async def scenario() -> None:
        sim = simulate(100)
        async with sim.pool.lease("a"):
            other = asyncio.create_task(sim.pool.load("b"))
            assert not await settles(other)
            assert sim.residencies("a") == ["device"]
            assert sim.pool.status(model("b").name).waiting == 1
        await other
        assert sim.residencies("a", "b") == ["host", "device"]
        assert sim.engine.peak_nbytes <= 100

    run(scenario)


def test_a_new_version_evicts_nobody_while_the_old_one_is_leaving() -> None:
    async def scenario() -> None:
        sim = simulate(host_nbytes=200)
        for name in ("a", "b"):
            await sim.pool.load(name)
        sim.catalogue.put(replace(model("a"), version="2"))
        await sim.pool.load("a")
        assert sim.residencies("a", "b") == ["device", "device"]

    run(scenario)


def test_a_new_version_of_a_pinned_model_is_not_refused_for_the_old_ones_sake() -> None:
    async def scenario() -> None:
        sim = simulate(host_nbytes=150)
        await sim.pool.load("a")
        sim.pool.pin("a")
        sim.catalogue.put(replace(model("a"), version="2"))
        assert await sim.pool.load("a") == "cold"
        sim.check_idle()

    run(scenario)


def test_waiting_is_first_come_first_served() -> None:
    async def scenario() -> None:
        sim, order = simulate(100), list[str]()

        async def use(name: str) -> None:
            async with sim.pool.lease(name):
                order.append(name)
                await rounds(5)

        await asyncio.gather(*(use(name) for name in "abcdbda"))
        assert order == list("abcdbda")

    run(scenario)


def test_a_model_that_is_waited_for_is_spared_while_another_can_go() -> None:
    async def scenario() -> None:
        sim = simulate(300)
        for name in ("a", "b", "c"):
            await sim.pool.load(name)
        async with sim.pool.lease("c", 0):
            claims = [asyncio.create_task(sim.pool.load(name)) for name in ("d", "a")]
            await asyncio.gather(*claims)
        assert sim.residencies("a", "b", "d") == ["device", "host", "device"]

    run(scenario)


def test_activations_are_reserved_for_the_length_of_a_lease_and_the_largest_counts() -> None:
    async def scenario() -> None:
        sim = simulate(250)
        async with sim.pool.lease("a", 100), sim.pool.lease("a", 120):
            assert sim.pool.stats().reserved_nbytes == 120
            other = asyncio.create_task(sim.pool.load("b"))
            assert not await settles(other)
        await other
        sim.check_idle()

    run(scenario)


def test_what_could_never_fit_fails_at_once_with_the_numbers() -> None:
    async def scenario() -> None:
        sim = simulate(150)
        with pytest.raises(InsufficientMemory) as caught:
            async with sim.pool.lease("a", activation_nbytes=51):
                pass
        assert (caught.value.needed_nbytes, caught.value.available_nbytes) == (151, 150)
        await sim.pool.load("a")

    run(scenario)


def test_pinned_models_stay_and_their_bytes_are_not_there_for_others() -> None:
    async def scenario() -> None:
        sim = simulate(150)
        sim.pool.pin("a")
        await sim.pool.load("a")
        with pytest.raises(InsufficientMemory, match="pinned") as caught:
            await sim.pool.load("b")
        assert (caught.value.needed_nbytes, caught.value.available_nbytes) == (100, 50)
        assert sim.pool.status(model("a").name).pinned
        await sim.pool.unload_idle(0)
        assert sim.residencies("a") == ["device"]
        sim.pool.pin("a", pinned=False)
        await sim.pool.load("b")
        assert sim.residencies("a", "b") == ["host", "device"]

    run(scenario)


def test_unpinning_lets_go_who_waits_for_the_memory() -> None:
    async def scenario() -> None:
        sim = simulate(200)
        sim.pool.pin("a")
        await sim.pool.load("a")
        async with sim.pool.lease("b"):
            waiting = asyncio.create_task(sim.pool.load("c"))
            assert not await settles(waiting)
            sim.pool.pin("a", pinned=False)
            assert await settles(waiting)

    run(scenario)


def test_shared_components_count_once_and_outlive_the_model_that_brought_them() -> None:
    async def scenario() -> None:
        sim = simulate(components={name: sdxl(name) for name in NAMES})
        await sim.pool.load("a")
        await sim.pool.load("b")
        assert sim.pool.stats().host_nbytes == sim.pool.stats().device_nbytes == 160
        shared = {one.name: tuple(key.name for key in one.owners) for one in sim.pool.report().components}
        assert shared["vae"] == ("a", "b")
        await sim.pool.unload("a")
        assert sim.pool.stats().host_nbytes == 100
        async with sim.pool.lease("b") as lease:
            assert lease.found == "device"
            assert sim.engine.is_on_device(lease.model)
        sim.check_idle()

    run(scenario)


def test_only_the_components_that_are_missing_move() -> None:
    async def scenario() -> None:
        sim = simulate(165, components={name: sdxl(name) for name in NAMES})
        for name in ("a", "b", "c"):
            await sim.pool.load(name, tier="host")
        for name in ("a", "b", "a"):
            await sim.pool.load(name)
        assert sim.engine.moved_nbytes == 160
        assert not [event for event in sim.events if isinstance(event, AssetOffloaded)]
        await sim.pool.load("c")
        dropped = [event for event in sim.events if isinstance(event, AssetOffloaded)]
        assert [(event.asset.name, event.components) for event in dropped] == [("b", ("unet",))]
        assert sim.engine.moved_nbytes == 220

    run(scenario)


def test_a_model_is_evicted_in_part_where_that_is_enough() -> None:
    async def scenario() -> None:
        parts = {name: tuple(component(f"{name}{size}", size, str(size)) for size in (60, 10, 30)) for name in NAMES}
        sim = simulate(225, components=parts)
        await sim.pool.load("a")
        await sim.pool.load("b")
        async with sim.pool.lease("b", activation_nbytes=30):
            assert sim.engine.device_nbytes == 190
        assert await sim.pool.load("a") == "host"
        assert sim.engine.moved_nbytes == 210

    run(scenario)


@pytest.mark.parametrize("method", ["fetch", "load"])
def test_a_failed_load_is_told_to_all_who_wait_and_remembered_for_a_short_time(method: str) -> None:
    async def scenario() -> None:
        sim = simulate(200)
        sim.catalogue.put(replace(model("a"), source=HubRepository(repo="somebody/something")))
        sim.engine.failures[method] = LoadFailed("the disk is on fire")
        outcomes = await asyncio.gather(*(sim.pool.load("a") for _ in range(3)), return_exceptions=True)
        assert [str(outcome) for outcome in outcomes] == ["the disk is on fire"] * 3
        with pytest.raises(LoadFailed, match="on fire"):
            await sim.pool.load("a")
        assert sim.engine.loads == (["a"] if method == "load" else [])
        sim.clock.now += BACK_OFF_S
        await sim.pool.load("a")
        sim.check_idle()

    run(scenario)


def test_a_remembered_failure_is_forgotten_when_the_files_change() -> None:
    async def scenario() -> None:
        sim = simulate()
        sim.engine.failures["load"] = RuntimeError("an unforeseen one")
        with pytest.raises(LoadFailed, match="unforeseen"):
            await sim.pool.load("a")
        sim.catalogue.put(replace(model("a"), version="2"))
        assert await sim.pool.load("a") == "cold"

    run(scenario)


def test_broken_files_are_remembered_until_they_change() -> None:
    async def scenario() -> None:
        sim = simulate()
        sim.engine.failures["load"] = UnusableModel("a", "the VAE is missing")
        for _ in range(2):
            with pytest.raises(UnusableModel, match="the VAE is missing"):
                await sim.pool.load("a")
            sim.clock.now += BACK_OFF_S
        assert sim.engine.loads == ["a"]
        sim.catalogue.put(replace(model("a"), version="2"))
        await sim.pool.load("a")

    run(scenario)


def test_a_device_fuller_than_the_books_say_drops_what_is_idle_and_tries_again() -> None:
    async def scenario() -> None:
        sim = simulate(1000)
        await sim.pool.load("a")
        sim.engine.failures["place"] = OutOfMemory("place")
        await sim.pool.load("b")
        assert sim.residencies("a", "b") == ["host", "device"]
        await sim.pool.unload("a")
        sim.engine.failures["place"] = OutOfMemory("place")
        async with sim.pool.lease("b"):
            with pytest.raises(InsufficientMemory) as caught:
                await sim.pool.load("c")
        assert (caught.value.needed_nbytes, caught.value.available_nbytes) == (100, 1000)
        assert await sim.pool.load("c") == "host"
        sim.check_idle()

    run(scenario)


def test_changed_files_are_loaded_anew_while_old_leases_go_on() -> None:
    async def scenario() -> None:
        sim = simulate()
        async with sim.pool.lease("a") as old:
            sim.catalogue.put(replace(model("a", nbytes=70), version="2"))
            async with sim.pool.lease("a") as new:
                assert new.model is not old.model
                assert sim.pool.stats().device_nbytes == 170
        await rounds()
        assert sim.pool.stats().device_nbytes == 70
        assert sim.engine.loads == ["a", "a"]
        sim.check_idle()

    run(scenario)


def test_unload_waits_for_leases_or_says_that_there_are_some() -> None:
    async def scenario() -> None:
        sim = simulate()
        async with sim.pool.lease("a"):
            with pytest.raises(ModelInUse):
                await sim.pool.unload("a", wait=False)
            waiting = asyncio.create_task(sim.pool.unload("a"))
            assert not await settles(waiting)
        assert await waiting
        assert sim.residencies("a") == ["cold"]
        assert not await sim.pool.unload("a")

    run(scenario)


def test_a_load_that_nobody_waits_for_any_more_leaks_nothing() -> None:
    async def scenario() -> None:
        sim = simulate()
        waiting = asyncio.create_task(sim.pool.load("a"))
        await rounds(5)
        waiting.cancel()
        await asyncio.wait([waiting])
        await rounds()
        sim.check_idle()
        assert await sim.pool.load("a") in {"host", "device"}
        assert sim.engine.loads == ["a"]

    run(scenario)


def test_a_model_may_be_brought_to_host_memory_alone() -> None:
    async def scenario() -> None:
        sim = simulate(50, 100)
        assert await sim.pool.load("a", tier="host") == "cold"
        assert sim.residencies("a") == ["host"]
        assert sim.engine.device_nbytes == 0

    run(scenario)


def test_a_lowered_budget_evicts_what_is_idle_now_and_what_is_leased_later() -> None:
    async def scenario() -> None:
        sim = simulate(400)
        for name in ("a", "b"):
            await sim.pool.load(name)
        async with sim.pool.lease("c"):
            sim.pool.set_budget(Budget(device_nbytes=50))
            await rounds()
            assert sim.residencies("a", "b", "c") == ["host", "host", "device"]
        await rounds()
        assert sim.residencies("c") == ["host"]
        sim.check_idle()

    run(scenario)


def test_idle_models_leave_after_their_time() -> None:
    async def scenario() -> None:
        sim = simulate()
        await sim.pool.load("a")
        sim.clock.now += 100
        await sim.pool.load("b")
        await sim.pool.unload_idle(50)
        assert sim.residencies("a", "b") == ["cold", "device"]

    run(scenario)


def test_a_lease_that_is_never_returned_is_reported() -> None:
    async def scenario() -> None:
        sim = simulate(overdue_s=0.01)
        async with sim.pool.lease("a"):
            await asyncio.sleep(0.05)
        assert [event.model for event in sim.events if isinstance(event, LeaseOverdue)] == ["a"]

    run(scenario)


def test_every_lease_is_told_with_where_it_found_its_model() -> None:
    async def scenario() -> None:
        sim = simulate(100)
        for name in ("a", "a", "b", "a"):
            await sim.pool.load(name)
        granted = [event.found for event in sim.events if isinstance(event, LeaseGranted)]
        assert granted == ["cold", "device", "cold", "host"]
        status = sim.pool.status(model("a").name)
        assert dict(status.found) == {"cold": 1, "device": 1, "host": 1}
        assert (status.loads, status.swap_nbytes) == (1, 100)

    run(scenario)


def test_a_model_that_somebody_frees_while_unused_ones_leave_is_left_alone_and_can_come_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def scenario() -> None:
        sim = simulate()
        async with sim.pool.lease("a") as lease:
            first = lease.model
        await sim.pool.load("b")
        gate, unload = asyncio.Event(), FakeEngine.unload

        async def slow_for_a(engine: FakeEngine, model: LoadedModel, *, reuse: bool = False) -> None:
            if model is first:
                await gate.wait()
            await unload(engine, model, reuse=reuse)

        monkeypatch.setattr(FakeEngine, "unload", slow_for_a)
        tidying = asyncio.create_task(sim.pool.unload_idle(0))
        await rounds()
        assert await sim.pool.unload("b")
        gate.set()
        await tidying
        assert sim.residencies("a", "b") == ["cold", "cold"]
        assert await settles(sim.pool.load("b")), "it comes back"
        await sim.pool.close()

    run(scenario)
