"""A pool on simulated parts: a fake engine that counts its own bytes, a catalogue in memory, a clock that is set by hand."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from litestar_diffusion.domain.memory.budget import Budget
from litestar_diffusion.domain.memory.events import PoolEvent
from litestar_diffusion.domain.memory.pool import DevicePool
from litestar_diffusion.domain.models.adapters import AdapterSpec
from litestar_diffusion.domain.models.assets import AssetKey
from litestar_diffusion.domain.models.components import Component
from litestar_diffusion.testing import (
    FakeAdditions,
    FakeCatalogue,
    FakeEngine,
    adapter,
    component,
    fake_catalogues,
    model,
)

NAMES: tuple[str, ...] = ("a", "b", "c", "d")
ADAPTERS: tuple[str, ...] = ("x", "y", "z")
"""Of 20 bytes each."""


def beside(*names: str) -> tuple[AssetKey, ...]:
    """Keys of adapters."""
    return tuple(AssetKey("adapter", name) for name in names)


class Clock:
    """Moves on by a thousandth of a second each time it is read, so that no two uses are at the same time."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        self.now += 0.001
        return self.now


@dataclass
class Simulation:
    """A pool and everything around it."""

    pool: DevicePool
    engine: FakeEngine
    catalogue: FakeCatalogue
    adapters: FakeAdditions[AdapterSpec]
    clock: Clock
    events: list[PoolEvent] = field(default_factory=list[PoolEvent])

    def residencies(self, *names: str) -> list[str]:
        return [self.pool.status(model(name).name).residency for name in names]

    def check(self) -> None:
        """Check that the pool's ledger is consistent, and counts at least the bytes of the engine."""
        self.pool.check_integrity()
        stats = self.pool.stats()
        assert stats.host_nbytes >= self.engine.host_nbytes
        if not self.engine.shares_host_memory:
            assert stats.device_nbytes >= self.engine.device_nbytes

    def check_budget(self) -> None:
        """Check that resident and reserved bytes are within the budget; valid if the budget was not lowered."""
        report = self.pool.report()
        stats, budget = report.stats, report.budget
        limits = [limit for limit in (budget.host_nbytes, budget.device_nbytes) if limit is not None]
        if self.engine.shares_host_memory:
            assert stats.host_nbytes + stats.reserved_nbytes <= min(limits, default=2**62)
            return
        assert stats.host_nbytes <= (budget.host_nbytes or 2**62)
        assert stats.device_nbytes + stats.reserved_nbytes <= (budget.device_nbytes or 2**62)

    def check_idle(self) -> None:
        """Check that nothing is reserved, and that the ledger counts every byte of the engine once."""
        self.check()
        stats = self.pool.stats()
        assert (stats.leases, stats.waiting, stats.reserved_nbytes) == (0, 0, 0)
        assert stats.host_nbytes == self.engine.host_nbytes
        assert stats.device_nbytes == self.engine.device_nbytes


def simulate(
    device_nbytes: int | None = None,
    host_nbytes: int | None = None,
    *,
    shares: bool = False,
    components: dict[str, tuple[Component, ...]] | None = None,
    overdue_s: float = 1000,
) -> Simulation:
    """Models a, b, c, d of 100 bytes each and adapters x, y, z of 20, unless their components are given."""
    catalogue = FakeCatalogue([model(name) for name in NAMES])
    catalogues = fake_catalogues(catalogue, [adapter(name, nbytes=20) for name in ADAPTERS])
    engine = FakeEngine(shares_host_memory=shares, components=components or {})
    clock, events = Clock(), list[PoolEvent]()
    budget = Budget(device_nbytes=device_nbytes, host_nbytes=host_nbytes)
    pool = DevicePool(catalogues, engine, budget, clock=clock, on_event=events.append, overdue_s=overdue_s)
    adapters = catalogues.adapters
    assert isinstance(adapters, FakeAdditions)
    return Simulation(pool, engine, catalogue, adapters, clock, events)


def sdxl(name: str) -> tuple[Component, ...]:
    """A model of 100 bytes, of which 40 are text encoders and a VAE that all models share."""
    return (
        component(f"unet-{name}", 60, "unet"),
        component("vae", 10, "vae"),
        component("te1", 10, "text_encoder"),
        component("te2", 20, "text_encoder_2"),
    )


def run(scenario: Callable[[], Awaitable[Any]]) -> None:
    """Run a scenario, for 20 seconds at most."""

    async def bounded() -> None:
        await asyncio.wait_for(scenario(), 20)

    asyncio.run(bounded())


async def settles(work: Awaitable[Any]) -> bool:
    """Whether something is done after the loop has come round many times; it is left running."""
    task = asyncio.ensure_future(work)
    await rounds()
    return task.done()


async def rounds(count: int = 50) -> None:
    """Let the loop come round."""
    for _ in range(count):
        await asyncio.sleep(0)
