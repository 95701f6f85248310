"""A machine of simulated devices: fake engines that share a loader, and the dispatcher before them."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from litestar_diffusion.domain.dispatch.dispatcher import Dispatcher
from litestar_diffusion.domain.dispatch.job import Job
from litestar_diffusion.domain.dispatch.policy import DispatchPolicy
from litestar_diffusion.domain.dispatch.stage import Stage
from litestar_diffusion.domain.engine import Engine, Engines
from litestar_diffusion.domain.memory.budget import Budget
from litestar_diffusion.domain.memory.host_tier import HostTier
from litestar_diffusion.domain.memory.plan import Plan
from litestar_diffusion.domain.memory.pool import DevicePool
from litestar_diffusion.domain.models.spec import ModelSpec
from litestar_diffusion.domain.placement.bring_times import BringTimes
from litestar_diffusion.domain.placement.devices import Devices
from litestar_diffusion.domain.placement.dispatcher import MachineDispatcher
from litestar_diffusion.domain.placement.model_pool import ModelPool
from litestar_diffusion.domain.placement.serving_device import ServingDevice
from litestar_diffusion.domain.requests.parameters import GenerationParameters, Limits
from litestar_diffusion.domain.requests.rendering import NO_SAVINGS
from litestar_diffusion.domain.requests.resolving.resolution import resolve
from litestar_diffusion.testing import FakeCatalogue, FakeEngine, fake_catalogues, fake_machine, model

MODELS = "abcd"
PLAN = Plan(memory_savings=NO_SAVINGS, activation_nbytes=1, step_nbytes=1)
STEP_S = 1.0


@dataclass
class Outcome:
    """What became of a request."""

    name: str
    device: str = ""
    ended_s: float = 0.0
    error: BaseException | None = None
    jobs: list[Job] = field(default_factory=list[Job])


class MachineBench:
    """Devices x, y, z ... with memory for `models` models of 100 bytes each; a step takes a second."""

    def __init__(
        self,
        names: str = "xy",
        models: int = 4,
        *,
        engines: Sequence[FakeEngine] | None = None,
        plan: Callable[[str], Callable[..., Plan]] = lambda _device: lambda *_: PLAN,
        complete: bool = True,
        **policy: Any,
    ) -> None:
        self.time = asyncio.get_running_loop().time
        self.engines = list(engines or fake_machine(*names, step_s=lambda _request: STEP_S))
        policy = DispatchPolicy(**{"max_rows": 1, "stuck_after_s": 50.0, **policy})
        catalogues, host = fake_catalogues(FakeCatalogue([model(name) for name in MODELS])), HostTier()
        budget = Budget(device_nbytes=models * 100 + 4, host_nbytes=10**6)

        def serve(engine: Engine) -> ServingDevice:
            pool = DevicePool(catalogues, engine, budget, clock=self.time, host=host)
            made = Dispatcher(pool, engine, policy, clock=self.time, plan=plan(engine.device.name))
            return ServingDevice(engine=engine, pool=pool, dispatcher=made)

        machine = Engines(self.engines) if complete else LateEngines(self.engines)
        self.devices = Devices(machine, serve)
        self.dispatcher = MachineDispatcher(self.devices, policy, BringTimes(), clock=self.time)
        self.pool = ModelPool(self.devices)

    async def send(
        self, name: str, wanted: str = "a", *, client: str = "", at_s: float = 0.0, **stated: Any
    ) -> Outcome:
        """Send a request for one image, and return what became of it."""
        await asyncio.sleep(max(0.0, at_s - self.time()))
        parameters = GenerationParameters(
            **{"prompt": name, "seed": 1, "guidance_scale": 1.0, "num_inference_steps": 3, **stated}
        )
        outcome = Outcome(name)
        job = Job(id=name, model=model(wanted).name, client=client, priority=parameters.priority)

        async def resolved(spec: ModelSpec) -> tuple[Stage, ...]:
            return (Stage.of(resolve(parameters, spec, Limits(), random_seed=0).request),)

        try:
            await self.dispatcher.run(job, resolved)
            outcome.device = next(engine.name for engine in self.engines if self.ran(engine, name))
        except Exception as error:
            outcome.error = error
        outcome.ended_s = self.time()
        return outcome

    def ran(self, engine: FakeEngine, name: str) -> bool:
        return any(getattr(request, "prompt", "") == name for request in engine.requests)

    def check_idle(self) -> None:
        """Check that nothing is held, and that the ledgers count every byte of the engines once."""
        self.pool.check_integrity()
        stats = self.pool.stats()
        assert (stats.leases, stats.waiting, stats.reserved_nbytes, self.dispatcher.depth) == (0, 0, 0, 0)
        assert stats.host_nbytes == self.engines[0].host_nbytes
        for engine, device in zip(self.engines, self.devices, strict=True):
            assert device.pool.stats().device_nbytes == engine.device_nbytes


class LateEngines:
    """A machine of which one device is known before it has started."""

    def __init__(self, engines: Sequence[Engine]) -> None:
        self._all = engines
        self.engines = engines[:1]
        self.complete = False
        self.may_start = asyncio.Event()

    async def start(self) -> None:
        await self.may_start.wait()
        self.engines, self.complete = self._all, True

    async def stop(self) -> None:
        """Nothing to stop."""
