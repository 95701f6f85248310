"""A request that gives way between two steps, and goes on later, makes the bytes that it makes alone."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from litestar_diffusion.domain.memory.pool import DevicePool
from litestar_diffusion.domain.requests.parameters import GenerationParameters, Limits
from litestar_diffusion.domain.requests.rendering import ParkedRun, RenderResult
from litestar_diffusion.domain.requests.request import GenerationRequest
from litestar_diffusion.domain.requests.resolution import resolve
from litestar_diffusion.infra.catalogue.models.catalogue import ModelCatalogue
from litestar_diffusion.infra.engine.engine import TorchEngine
from litestar_diffusion.testing import fake_catalogues
from tests.conftest import DTYPE, ROOT


def never(*_: Any) -> Path:
    raise AssertionError("nothing is downloaded")


class Bench:
    """A real engine with the demo models, and requests for one of them."""

    def __init__(self) -> None:
        self.engine = TorchEngine(device="cpu", dtype=DTYPE, threads=1, fetch=never)
        self.catalogue = ModelCatalogue(directories=[ROOT / "models"], overrides={}, hub=())
        self.pool = DevicePool(fake_catalogues(self.catalogue), self.engine)

    async def resolved(self, **stated: Any) -> GenerationRequest:
        spec = await self.catalogue.find("demo")
        parameters = {"prompt": "a red circle", "seed": 5, "num_inference_steps": 6, "reproducible": True, **stated}
        return resolve(GenerationParameters(**parameters), spec, Limits(), random_seed=0).request

    async def made(self, request: GenerationRequest, **options: Any) -> RenderResult | ParkedRun:
        async with self.pool.lease("demo") as lease:
            return await self.engine.renderer.generate(lease.model, request, lambda *_: None, **options)

    async def in_turns(self, request: GenerationRequest, between: Callable[[], Awaitable[Any]]) -> RenderResult:
        """Give way after every step."""
        outcome = await self.made(request, give_way=lambda: True)
        while isinstance(outcome, ParkedRun):
            await between()
            outcome = await self.made(request, give_way=lambda: True, parked=outcome)
        return outcome


def run(scenario: Callable[[Bench], Awaitable[None]]) -> None:
    async def bounded() -> None:
        bench = Bench()
        try:
            await asyncio.wait_for(scenario(bench), 120)
        finally:
            await bench.pool.close()
            await bench.engine.stop()

    asyncio.run(bounded())


@pytest.mark.parametrize("sampler", ["euler_a", "dpmpp_2m_karras", "heun", "pndm", "dpmpp_sde"])
def test_a_request_that_gives_way_after_every_step_makes_the_same_bytes(sampler: str) -> None:
    async def scenario(bench: Bench) -> None:
        request = await bench.resolved(sampler=sampler, n=2)
        other = await bench.resolved(prompt="a blue square", width=128, height=192)
        alone = await bench.made(request)
        parked = await bench.in_turns(request, lambda: bench.made(other))
        assert isinstance(alone, RenderResult)
        assert parked.images == alone.images
        assert sum(timing.steps for timing in parked.step_timings) == sum(timing.steps for timing in alone.step_timings)

    run(scenario)


def test_the_model_may_be_loaded_anew_in_between() -> None:
    async def scenario(bench: Bench) -> None:
        request = await bench.resolved()
        alone = await bench.made(request)
        parked = await bench.in_turns(request, lambda: bench.pool.unload("demo"))
        assert isinstance(alone, RenderResult)
        assert parked.images == alone.images

    run(scenario)


def test_a_request_never_gives_way_when_its_images_are_done() -> None:
    async def scenario(bench: Bench) -> None:
        request = await bench.resolved(num_inference_steps=1)
        assert isinstance(await bench.made(request, give_way=lambda: True), RenderResult)

    run(scenario)
