"""A request that gives way between two steps, and goes on later, makes the bytes that it makes alone."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from litestar_diffusion.domain.memory.pool import DevicePool
from litestar_diffusion.domain.requests.parameters import GenerationParameters, Limits
from litestar_diffusion.domain.requests.rendering import NO_SAVINGS, MemorySavings, ParkedRun, RenderResult
from litestar_diffusion.domain.requests.request import GenerationRequest
from litestar_diffusion.domain.requests.resolving.resolution import resolve
from litestar_diffusion.infra.catalogue.models.catalogue import ModelCatalogue
from litestar_diffusion.testing import fake_catalogues
from tests.conftest import DTYPE, ROOT
from tests.infra.engine.one_engine import one_engine


def never(*_: Any) -> Path:
    raise AssertionError("nothing is downloaded")


class Bench:
    """A real engine with the demo models, and requests for one of them."""

    def __init__(self) -> None:
        self.engine = one_engine(device="cpu", dtype=DTYPE, threads=1, fetch=never)
        self.catalogue = ModelCatalogue(directories=[ROOT / "models"], overrides={}, hub=())
        self.pool = DevicePool(fake_catalogues(self.catalogue), self.engine)
        self.turns = 0

    async def resolved(self, **stated: Any) -> GenerationRequest:
        spec = await self.catalogue.find("demo")
        parameters = {"prompt": "a red circle", "seed": 5, "num_inference_steps": 6, "reproducible": True, **stated}
        return resolve(GenerationParameters(**parameters), spec, Limits(), random_seed=0).request

    async def made(self, request: GenerationRequest, **options: Any) -> RenderResult | ParkedRun:
        async with self.pool.lease("demo") as lease:
            return await self.engine.renderer.generate(lease.model, request, lambda *_: None, **options)

    async def in_turns(
        self, request: GenerationRequest, between: Callable[[], Awaitable[Any]], **options: Any
    ) -> RenderResult:
        """Give way whenever the engine can; `turns` counts how often it did, and the end."""
        self.turns = 1
        outcome = await self.made(request, give_way=lambda: True, **options)
        while isinstance(outcome, ParkedRun):
            self.turns += 1
            await between()
            outcome = await self.made(request, give_way=lambda: True, parked=outcome, **options)
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


TILES = 2
"""Tiles of 128 x 256 pixels."""


@pytest.mark.parametrize(
    ("savings", "at_once", "parts"),
    [(NO_SAVINGS, 2, 1), (MemorySavings(tiled_decode=True), 1, TILES), (MemorySavings(tiled_decode=True), 2, TILES)],
    ids=["whole-images", "tiles", "tiles-of-two-images"],
)
def test_a_request_gives_way_between_two_tiles_and_two_images_and_makes_the_same_bytes(
    savings: MemorySavings, at_once: int, parts: int
) -> None:
    async def scenario(bench: Bench) -> None:
        request = await bench.resolved(n=2, num_inference_steps=2, width=128, height=256, guidance_scale=1.0)
        options = {"memory_savings": savings, "at_once": at_once}
        other = await bench.resolved(prompt="a blue square", num_inference_steps=1)
        alone = await bench.made(request, **options)

        async def between() -> None:
            await bench.made(other)
            await bench.pool.unload("demo")

        parked = await bench.in_turns(request, between, **options)
        assert isinstance(alone, RenderResult)
        assert parked.images == alone.images
        encoding, steps = 1, 2 * 2 // at_once
        assert bench.turns == encoding + steps + 2 * parts

    run(scenario)


def test_a_request_that_others_wait_for_gives_way_before_it_decodes_and_never_after_its_last_image() -> None:
    async def scenario(bench: Bench) -> None:
        request = await bench.resolved(num_inference_steps=1)
        steps = list[int]()
        waiting = False

        def stepped(done: int, _total: int) -> None:
            nonlocal waiting
            steps.append(done)
            waiting = done == 1

        async with bench.pool.lease("demo") as lease:
            generate = bench.engine.renderer.generate
            parked = await generate(lease.model, request, stepped, give_way=lambda: waiting)
            assert isinstance(parked, ParkedRun)
            assert isinstance(
                await generate(lease.model, request, stepped, give_way=lambda: True, parked=parked), RenderResult
            )
        assert steps == [0, 1, 1, 1]

    run(scenario)
