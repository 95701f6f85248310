"""The engine of one simulated device, with a pool of the built-in models."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from litestar_diffusion.domain.dispatch.memory_fallbacks import FallbackResult, MemoryFallbacks
from litestar_diffusion.domain.memory.budget import Budget
from litestar_diffusion.domain.memory.pool import DevicePool
from litestar_diffusion.domain.requests.parameters import GenerationParameters, Limits
from litestar_diffusion.domain.requests.request import GenerationRequest
from litestar_diffusion.domain.requests.resolving.resolution import resolve
from litestar_diffusion.infra.catalogue.models.catalogue import ModelCatalogue
from litestar_diffusion.testing import fake_catalogues
from tests.conftest import ROOT
from tests.infra.engine.one_engine import one_engine
from tests.simulated_gpu import SimulatedGpu, simulated_gpus

PLENTY = 10**9


def ignore(*_: Any) -> Any:
    """For progress without a watcher."""


class Bench:
    """What a test works with."""

    def __init__(self, gpu: SimulatedGpu, device_nbytes: int) -> None:
        self.gpu = gpu
        self.engine = one_engine(device="cuda", dtype="float32", threads=1, fetch=ignore, prompt_cache_nbytes=0)
        self.catalogue = ModelCatalogue(directories=[ROOT / "models"], overrides={}, hub=())
        budget = Budget(host_nbytes=PLENTY, device_nbytes=device_nbytes)
        self.pool = DevicePool(fake_catalogues(self.catalogue), self.engine, budget)
        self.fallbacks = MemoryFallbacks(self.pool, self.engine)

    async def request(self, model: str = "demo", **stated: Any) -> GenerationRequest:
        spec = await self.catalogue.find(model)
        parameters = {"prompt": "a red circle", "seed": 5, "num_inference_steps": 2, "reproducible": True, **stated}
        return resolve(GenerationParameters(**parameters), spec, Limits(), random_seed=0).request

    async def attempt(self, model: str = "demo", on_step: Callable[..., Any] = ignore, **stated: Any) -> FallbackResult:
        request = await self.request(model, **stated)
        async with self.pool.lease(model) as lease:
            return await self.fallbacks.run(lease, request, on_step)

    async def made(self, model: str = "demo", **stated: Any) -> bytes:
        return (await self.attempt(model, **stated)).rendered.images[0].pixels

    @property
    def weights_nbytes(self) -> int:
        """Bytes on the device, by the pool's books."""
        return self.pool.stats().device_nbytes


def on_bench(scenario: Callable[[Bench], Awaitable[None]], *, total: int = PLENTY, device_nbytes: int = PLENTY) -> None:
    """Run a scenario on a device with so much memory, and so much of it in the pool's budget."""

    async def bounded(gpu: SimulatedGpu) -> None:
        bench = Bench(gpu, device_nbytes)
        try:
            for model in ("demo", "demo-turbo"):
                await bench.catalogue.find(model)  # reads its files
            await asyncio.wait_for(scenario(bench), 120)
            bench.pool.check_integrity()
        finally:
            await bench.pool.close()
            await bench.engine.stop()

    with simulated_gpus(total) as [gpu]:
        asyncio.run(bounded(gpu))
        assert gpu.allocated == 0, "something was left on the device"
