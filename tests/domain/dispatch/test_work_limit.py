"""A request that takes the device for too long is refused by its estimate, or stopped by the clock if there is none."""

import asyncio

import pytest

from litestar_diffusion.domain.errors import TooMuchWork
from tests.domain.dispatch.simulated_device import Bench, simulate

LARGE = {"width": 1024, "height": 1024}
"""A step takes 0.85 s."""


def test_a_request_above_the_limit_is_refused_by_the_speed_of_earlier_ones() -> None:
    async def scenario() -> None:
        bench = Bench(max_request_s=60)
        await bench.send("me", num_inference_steps=10, **LARGE)
        begun_s = bench.time()
        with pytest.raises(TooMuchWork, match=r"about 2 minutes; .* 60 seconds \(limits.max_request_s\)"):
            await bench.send("me", num_inference_steps=150, **LARGE)
        assert bench.time() == begun_s
        await bench.send("me", num_inference_steps=70, **LARGE)

    simulate(scenario)


def test_without_an_estimate_it_is_stopped_when_it_has_taken_the_limit() -> None:
    async def scenario() -> None:
        bench = Bench(max_request_s=60)
        with pytest.raises(TooMuchWork, match="has taken the device for"):
            await bench.send("me", num_inference_steps=150, **LARGE)
        assert 60 < bench.time() < 62
        assert bench.dispatcher.depth == 0

    simulate(scenario)


def test_turns_of_other_clients_do_not_count() -> None:
    async def scenario() -> None:
        bench = Bench(max_request_s=60)
        mine = asyncio.create_task(bench.send("me", num_inference_steps=60, **LARGE))
        await bench.send("you", num_inference_steps=60, width=1024, height=1032)
        await mine
        assert bench.time() > 100

    simulate(scenario)


def test_a_small_image_tells_nothing_of_a_large_one() -> None:
    async def scenario() -> None:
        bench = Bench(max_request_s=60, overhead_s=0.5)
        await bench.send("me", num_inference_steps=1, width=64, height=64)
        await bench.send("me", num_inference_steps=40, **LARGE)

    simulate(scenario)
