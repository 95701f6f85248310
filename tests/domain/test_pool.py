"""The pool on a simulated device: single loads, leases, eviction, failures, changed files, and its books."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from litestar_diffusion.domain.errors import InsufficientMemory, LoadFailed, ModelInUse, UnusableModel
from litestar_diffusion.domain.budget import Budget
from litestar_diffusion.domain.pool import ModelPool
from litestar_diffusion.testing import FakeCatalogue, FakeEngine, model

NAMES = ("a", "b", "c", "d")


class Clock:
    """Moves on by one second each time it is read, so that no two uses are at the same time."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        self.now += 1
        return self.now


def pool_of(budget_nbytes: int | None = None, *, shares: bool = False) -> tuple[ModelPool, FakeEngine, FakeCatalogue]:
    catalogue = FakeCatalogue([model(name) for name in NAMES])
    engine = FakeEngine(shares_host_memory=shares)
    budget = Budget(device_nbytes=budget_nbytes)
    return ModelPool(catalogue, engine, budget, clock=Clock()), engine, catalogue


def run(scenario: Callable[[], Awaitable[Any]]) -> None:
    async def bounded() -> None:
        await asyncio.wait_for(scenario(), 20)

    asyncio.run(bounded())


def test_a_model_is_loaded_once_however_many_wait() -> None:
    async def scenario() -> None:
        pool, engine, _ = pool_of()
        founds = await asyncio.gather(*(pool.load("a") for _ in range(20)))
        assert engine.loads == ["a"]
        assert founds[0] == "cold"
        assert await pool.load("a") == "hot"

    run(scenario)


def test_the_least_recently_used_idle_model_makes_room_and_stays_warm() -> None:
    async def scenario() -> None:
        pool, engine, _ = pool_of(200)
        for name in ("a", "b", "a", "c"):
            await pool.load(name)
        assert {name: pool.status(name).residency for name in ("a", "b", "c")} == {
            "a": "device",
            "b": "host",
            "c": "device",
        }
        assert await pool.load("b") == "warm"
        assert engine.loads == ["a", "b", "c"]
        assert engine.peak_nbytes <= 200

    run(scenario)


def test_where_the_device_is_the_host_an_evicted_model_is_freed() -> None:
    async def scenario() -> None:
        pool, engine, _ = pool_of(100, shares=True)
        await pool.load("a")
        await pool.load("b")
        assert pool.status("a").residency == "cold"
        assert pool.stats().host_nbytes == 100
        assert await pool.load("a") == "cold"
        assert engine.loads == ["a", "b", "a"]

    run(scenario)


def test_a_leased_model_is_not_evicted_and_the_other_waits() -> None:
    async def scenario() -> None:
        pool, engine, _ = pool_of(100)
        async with pool.lease("a"):
            other = asyncio.create_task(pool.load("b"))
            for _ in range(50):
                await asyncio.sleep(0)
            assert not other.done()
            assert pool.status("a").residency == "device"
        await other
        assert pool.status("b").residency == "device"
        assert engine.peak_nbytes <= 100

    run(scenario)


def test_activations_are_reserved_for_the_length_of_a_lease() -> None:
    async def scenario() -> None:
        pool, _, _ = pool_of(250)
        async with pool.lease("a", activation_nbytes=120):
            assert pool.stats().reserved_nbytes == 120
            assert not await _settles(pool.load("b"))
        assert pool.stats().reserved_nbytes == 0

    run(scenario)


def test_what_could_never_fit_fails_at_once_with_the_numbers() -> None:
    async def scenario() -> None:
        pool, _, _ = pool_of(150)
        with pytest.raises(InsufficientMemory) as caught:
            async with pool.lease("a", activation_nbytes=51):
                pass
        assert (caught.value.needed_nbytes, caught.value.available_nbytes) == (151, 150)
        await pool.load("a")

    run(scenario)


@pytest.mark.parametrize("method", ["load", "place"])
def test_a_failure_reaches_all_who_wait_and_the_next_request_tries_again(method: str) -> None:
    async def scenario() -> None:
        pool, engine, _ = pool_of(200)
        engine.failures[method] = LoadFailed("the disk is on fire")
        outcomes = await asyncio.gather(pool.load("a"), return_exceptions=True)
        assert isinstance(outcomes[0], LoadFailed)
        pool.check_integrity()
        assert pool.stats().leases == 0
        await pool.load("a")
        assert engine.device_nbytes == pool.stats().device_nbytes == 100

    run(scenario)


def test_broken_files_are_remembered_until_they_change() -> None:
    async def scenario() -> None:
        pool, engine, catalogue = pool_of()
        engine.failures["load"] = UnusableModel("a", "the VAE is missing")
        for _ in range(2):
            with pytest.raises(UnusableModel, match="the VAE is missing"):
                await pool.load("a")
        assert engine.loads == ["a"]
        catalogue.put(replace(model("a"), version="2"))
        await pool.load("a")

    run(scenario)


def test_changed_files_are_loaded_anew_while_old_leases_go_on() -> None:
    async def scenario() -> None:
        pool, engine, catalogue = pool_of()
        async with pool.lease("a") as old:
            catalogue.put(replace(model("a", nbytes=70), version="2"))
            async with pool.lease("a") as new:
                assert new.model is not old.model
                assert pool.stats().device_nbytes == 170
        assert pool.stats().device_nbytes == 70
        assert engine.loads == ["a", "a"]

    run(scenario)


def test_unload_waits_for_leases_or_says_that_there_are_some() -> None:
    async def scenario() -> None:
        pool, _, _ = pool_of()
        async with pool.lease("a"):
            with pytest.raises(ModelInUse):
                await pool.unload("a", wait=False)
            waiting = asyncio.create_task(pool.unload("a"))
            assert not await _settles(waiting)
        assert await waiting
        assert pool.status("a").residency == "cold"
        assert not await pool.unload("a")

    run(scenario)


def test_a_load_that_nobody_waits_for_any_more_leaks_nothing() -> None:
    async def scenario() -> None:
        pool, engine, _ = pool_of()
        waiting = asyncio.create_task(pool.load("a"))
        await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.wait([waiting])
        for _ in range(10):
            await asyncio.sleep(0)
        assert pool.stats().leases == 0
        assert await pool.load("a") == "warm"
        assert engine.loads == ["a"]

    run(scenario)


ACTIONS = st.lists(
    st.tuples(
        st.sampled_from(["lease", "cancel", "return", "unload", "fail load", "fail place", "change", "budget", "turn"]),
        st.sampled_from(NAMES),
        st.integers(0, 3),
    ),
    min_size=20,
    max_size=60,
)


@settings(max_examples=150, deadline=None)
@given(actions=ACTIONS, shares=st.booleans())
def test_the_books_are_right_whatever_happens(actions: list[tuple[str, str, int]], shares: bool) -> None:
    """Thousands of random steps: bytes within budget, counted once, none lost; every waiter ends; nothing in use moves."""
    run(lambda: _Storm(shares).weather(actions))


class _Storm:
    """Random users of one pool."""

    def __init__(self, shares: bool) -> None:
        self.pool, self.engine, self.catalogue = pool_of(300, shares=shares)
        self.users: list[tuple[asyncio.Task[None], asyncio.Event]] = []
        self.versions = dict.fromkeys(NAMES, 1)

    async def weather(self, actions: list[tuple[str, str, int]]) -> None:
        for action, name, number in actions:
            self.act(action, name, number)
            for _ in range(number):
                await asyncio.sleep(0)
            self.pool.check_integrity()
            assert self.engine.device_nbytes <= 300
        self.pool.set_budget(Budget(device_nbytes=300))
        for _, leave in self.users:
            leave.set()
        outcomes = await asyncio.gather(*(user for user, _ in self.users), return_exceptions=True)
        assert all(_expected(outcome) for outcome in outcomes), outcomes
        self.pool.check_integrity()
        stats = self.pool.stats()
        assert (stats.leases, stats.reserved_nbytes) == (0, 0)
        if not self.engine.shares_host_memory:
            assert stats.device_nbytes == self.engine.device_nbytes
        await self.pool.close()
        assert self.engine.device_nbytes == 0

    def act(self, action: str, name: str, number: int) -> None:
        match action:
            case "lease":
                leave = asyncio.Event()
                self.users.append((asyncio.create_task(self.use(name, number * 40, leave)), leave))
            case "cancel" if self.users:
                self.users[number % len(self.users)][0].cancel()
            case "return" if self.users:
                self.users[number % len(self.users)][1].set()
            case "unload":
                self.users.append((asyncio.create_task(self.unload(name)), asyncio.Event()))
            case "fail load" | "fail place":
                self.engine.failures[action.removeprefix("fail ")] = LoadFailed("injected")
            case "change":
                self.versions[name] += 1
                self.catalogue.put(replace(model(name), version=str(self.versions[name])))
            case _:
                pass

    async def use(self, name: str, activation_nbytes: int, leave: asyncio.Event) -> None:
        async with self.pool.lease(name, activation_nbytes) as lease:
            assert lease.model.on_device  # type: ignore[attr-defined]
            await leave.wait()
            assert lease.model.on_device, "a model was taken away while it was in use"  # type: ignore[attr-defined]

    async def unload(self, name: str) -> None:
        await self.pool.unload(name)


def _expected(outcome: Any) -> bool:
    return outcome is None or isinstance(outcome, (LoadFailed, asyncio.CancelledError))


async def _settles(work: Awaitable[Any]) -> bool:
    """Whether something is done after the loop has come round many times; it is left running."""
    task = asyncio.ensure_future(work)
    for _ in range(50):
        await asyncio.sleep(0)
    return task.done()
