"""Thousands of random steps on the pool: budget kept, bytes counted once, none lost, nothing in use moves, waiters end."""

import asyncio
from collections.abc import Coroutine
from dataclasses import replace
from typing import Any, ClassVar

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from litestar_diffusion.domain.errors import InsufficientMemory, LoadFailed, OutOfMemory
from litestar_diffusion.domain.memory.budget import Budget
from litestar_diffusion.domain.memory.lease import Lease
from litestar_diffusion.domain.memory.loading import BACK_OFF_S
from litestar_diffusion.domain.models.assets import AssetKey
from litestar_diffusion.domain.models.components import Component
from litestar_diffusion.testing import adapter, component, model
from tests.domain.simulation import ADAPTERS, NAMES, Simulation, beside, rounds, sdxl, simulate

MODELS = st.sampled_from(NAMES)
SIDES = st.sampled_from(ADAPTERS)
SETS = st.lists(SIDES, max_size=3, unique=True)
BUDGETS = st.sampled_from([None, 150, 200, 260, 330])
EXPECTED = (LoadFailed, InsufficientMemory, asyncio.CancelledError)


def _twins() -> dict[str, tuple[Component, ...]]:
    """Two adapters with the same weights, as of one file under two names."""
    return dict.fromkeys(("x", "y"), (component("twin", 20, "adapter"),))


class PoolMachine(RuleBasedStateMachine):
    """Random users, operators and accidents around one pool."""

    steps: ClassVar[int] = 0

    @initialize(shares=st.booleans(), sharing=st.booleans(), device=BUDGETS, host=BUDGETS)
    def begin(self, shares: bool, sharing: bool, device: int | None, host: int | None) -> None:
        components = {name: sdxl(name) for name in NAMES} | _twins() if sharing else {}
        self.loop = asyncio.new_event_loop()
        self.users: list[tuple[asyncio.Task[None], asyncio.Event]] = []
        self.held: list[Lease] = []
        self.budget_changed = False
        self.versions = dict.fromkeys((*NAMES, *ADAPTERS), 1)
        self.sim: Simulation = self.play(self.make(shares, components, device, host))
        self.play(rounds())

    @staticmethod
    async def make(shares: bool, components: Any, device: int | None, host: int | None) -> Simulation:
        return simulate(device, host, shares=shares, components=components)

    def play(self, work: Coroutine[Any, Any, Any]) -> Any:
        return self.loop.run_until_complete(work)

    def begin_task(self, work: Coroutine[Any, Any, None]) -> asyncio.Event:
        leave = asyncio.Event()
        self.users.append((self.loop.create_task(work), leave))
        return leave

    @rule(name=MODELS, sides=SETS, activation_nbytes=st.sampled_from([0, 10, 60, 200]), turns=st.integers(0, 4))
    def lease(self, name: str, sides: list[str], activation_nbytes: int, turns: int) -> None:
        leave = asyncio.Event()
        self.users.append((self.loop.create_task(self.use(name, sides, activation_nbytes, leave)), leave))
        self.play(rounds(turns))

    async def use(self, name: str, sides: list[str], activation_nbytes: int, leave: asyncio.Event) -> None:
        async with self.sim.pool.lease(name, activation_nbytes, beside=beside(*sides)) as lease:
            assert [spec.name for spec in lease.beside] == sides, "adapters come in the order in which they were named"
            self.held.append(lease)
            try:
                await leave.wait()
            finally:
                self.held.remove(lease)

    @precondition(lambda self: self.users)
    @rule(number=st.integers(0, 50), turns=st.integers(0, 4))
    def give_back(self, number: int, turns: int) -> None:
        self.users[number % len(self.users)][1].set()
        self.play(rounds(turns))

    @precondition(lambda self: self.users)
    @rule(number=st.integers(0, 50), turns=st.integers(0, 4))
    def cancel(self, number: int, turns: int) -> None:
        self.users[number % len(self.users)][0].cancel()
        self.play(rounds(turns))

    @rule(name=MODELS, turns=st.integers(0, 3))
    def preload(self, name: str, turns: int) -> None:
        self.begin_task(self.drop_result(self.sim.pool.load(name, tier="host")))
        self.play(rounds(turns))

    @rule(name=MODELS, turns=st.integers(0, 3))
    def unload(self, name: str, turns: int) -> None:
        self.begin_task(self.drop_result(self.sim.pool.unload(name)))
        self.play(rounds(turns))

    @rule(name=SIDES, turns=st.integers(0, 3))
    def unload_adapter(self, name: str, turns: int) -> None:
        self.begin_task(self.drop_result(self.sim.pool.unload_asset(AssetKey("adapter", name))))
        self.play(rounds(turns))

    @rule(turns=st.integers(0, 3))
    def drop_idle(self, turns: int) -> None:
        self.begin_task(self.drop_result(self.sim.pool.drop_idle()))
        self.play(rounds(turns))

    @staticmethod
    async def drop_result(work: Coroutine[Any, Any, Any]) -> None:
        await work

    @rule(method=st.sampled_from(["load", "load_adapter", "place"]), memory=st.booleans())
    def break_next(self, method: str, memory: bool) -> None:
        out_of_memory = memory and method == "place"
        self.sim.engine.failures[method] = OutOfMemory("place") if out_of_memory else LoadFailed("injected")

    @rule(name=MODELS, pinned=st.booleans())
    def pin(self, name: str, pinned: bool) -> None:
        self.play(self.do_pin(name, pinned))

    async def do_pin(self, name: str, pinned: bool) -> None:
        self.sim.pool.pin(name, pinned=pinned)

    @rule(name=MODELS)
    def change_files(self, name: str) -> None:
        self.versions[name] += 1
        self.sim.catalogue.put(replace(model(name), version=str(self.versions[name])))

    @rule(name=SIDES)
    def change_adapter(self, name: str) -> None:
        self.versions[name] += 1
        self.sim.adapters.put(replace(adapter(name, nbytes=20), version=str(self.versions[name])))

    @rule(device=BUDGETS, host=BUDGETS)
    def change_budget(self, device: int | None, host: int | None) -> None:
        self.budget_changed = True
        self.play(self.do_budget(device, host))

    async def do_budget(self, device: int | None, host: int | None) -> None:
        self.sim.pool.set_budget(Budget(device_nbytes=device, host_nbytes=host))

    @rule(seconds=st.sampled_from([1.0, BACK_OFF_S, 1000.0]), turns=st.integers(0, 20))
    def time_passes(self, seconds: float, turns: int) -> None:
        self.sim.clock.now += seconds
        self.play(rounds(turns))

    @rule()
    def idle_models_leave(self) -> None:
        self.begin_task(self.sim.pool.unload_idle(500))
        self.play(rounds(3))

    @invariant()
    def the_books_are_right(self) -> None:
        if not hasattr(self, "sim"):
            return
        type(self).steps += 1
        self.sim.check()
        if not self.budget_changed:
            self.sim.check_budget()
        for lease in self.held:
            for loaded in (lease.model, *lease.adapters):
                assert self.sim.engine.is_on_device(loaded), "an asset was taken away while it was in use"

    def teardown(self) -> None:
        if not hasattr(self, "sim"):
            return
        try:
            self.play(self.end())
        finally:
            for task in asyncio.all_tasks(self.loop):
                task.cancel()
            self.play(rounds())
            self.loop.close()

    async def end(self) -> None:
        """All leases are returned; all requests get an answer; no byte is left promised or lost."""
        for name in NAMES:
            self.sim.pool.pin(name, pinned=False)
        self.sim.pool.set_budget(Budget())
        for _, leave in self.users:
            leave.set()
        outcomes = await asyncio.wait_for(asyncio.gather(*(task for task, _ in self.users), return_exceptions=True), 10)
        assert all(outcome is None or isinstance(outcome, EXPECTED) for outcome in outcomes), outcomes
        await rounds()
        self.sim.check_idle()
        await self.sim.pool.close()
        assert (self.sim.engine.host_nbytes, self.sim.engine.device_nbytes) == (0, 0)


PoolMachine.TestCase.settings = settings(max_examples=120, stateful_step_count=50, deadline=None)
TestPool = PoolMachine.TestCase


def test_that_was_at_least_two_thousand_steps() -> None:
    if PoolMachine.steps == 0:
        TestPool("runTest").runTest()
    assert PoolMachine.steps >= 2000
