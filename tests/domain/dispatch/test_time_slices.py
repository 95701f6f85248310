"""No client keeps another from the device: time slices, on a device whose steps take simulated seconds."""

import asyncio
from typing import Any

import pytest
from hypothesis import Phase, example, given, settings
from hypothesis import strategies as st

from litestar_diffusion.domain.errors import EngineStuck
from litestar_diffusion.domain.requests.request import GenerationRequest
from tests.domain.dispatch.simulated_device import SLICE_S, Bench, simulate


def test_a_small_request_of_another_client_waits_a_slice_and_a_step_behind_a_huge_one() -> None:
    async def scenario() -> None:
        bench = Bench()
        huge = asyncio.create_task(bench.send("greedy", num_inference_steps=150, width=2048, height=2048))
        small = await bench.send("modest", at_s=10.0, num_inference_steps=8, width=512, height=512)
        assert small.delay_s <= SLICE_S + 3.4
        assert (await huge).delay_s <= small.alone_s + 1e-6

    simulate(scenario)


@pytest.mark.parametrize("side_px", [2048, 1024, 512])
def test_small_requests_of_another_client_wait_a_step_each_once_the_device_knows_that_they_are_small(
    side_px: int,
) -> None:
    async def scenario() -> None:
        bench = Bench()
        small: dict[str, Any] = {"num_inference_steps": 8, "width": 128, "height": 128}
        await bench.send("modest", **small)
        huge = asyncio.create_task(bench.send("greedy", num_inference_steps=150, width=side_px, height=side_px))
        await asyncio.sleep(1.0)
        sent = [await bench.send("modest", **small) for _ in range(10)]
        assert max(each.delay_s for each in sent) <= step_s_of(side_px) + 1e-6
        assert (await huge).delay_s <= sum(each.alone_s for each in sent) + 1e-6

    simulate(scenario)


def test_a_client_whose_images_are_decoded_gives_way_between_them_and_pays_for_them() -> None:
    async def scenario() -> None:
        bench = Bench(decodes=True)
        huge = asyncio.create_task(bench.send("greedy", num_inference_steps=1, width=2048, height=2048, n=8))
        other = await bench.send("modest", at_s=6.0, num_inference_steps=12, width=1024, height=1024)
        assert not huge.done(), "the images are still being decoded"
        assert other.delay_s <= other.alone_s + SLICE_S + 3.4, (
            "decoding counts as work, so the device is shared equally"
        )
        await huge

    simulate(scenario)


def test_a_device_that_was_called_unresponsive_during_a_long_decoding_serves_after_it() -> None:
    async def scenario() -> None:
        bench = Bench(decodes=True, stuck_after_s=2.0)
        sent = asyncio.create_task(bench.send("x", num_inference_steps=1, width=2048, height=2048))
        await asyncio.sleep(3.4 + 3.0)
        bench.dispatcher.check_device()
        with pytest.raises(EngineStuck):
            await sent
        await asyncio.sleep(1.0)
        assert bench.dispatcher.unresponsive is None
        await bench.send("x", num_inference_steps=1, width=64, height=64)

    simulate(scenario)


def test_two_huge_requests_of_two_clients_share_the_device_in_equal_parts() -> None:
    async def scenario() -> None:
        bench = Bench()
        first = asyncio.create_task(bench.send("x", num_inference_steps=100, width=1024, height=1024))
        second = asyncio.create_task(bench.send("y", num_inference_steps=100, width=1024, height=1032))
        both = [await first, await second]
        assert max(sent.done_s for sent in both) - min(sent.done_s for sent in both) <= SLICE_S + 1.0
        assert min(sent.delay_s for sent in both) >= 0.9 * both[0].alone_s

    simulate(scenario)


def test_clients_get_equal_shares_even_if_one_sends_more() -> None:
    async def scenario() -> None:
        bench, small = Bench(), {"num_inference_steps": 10, "width": 512, "height": 512, "reproducible": True}
        greedy = [asyncio.create_task(bench.send("greedy", **small)) for _ in range(20)]
        modest = [asyncio.create_task(bench.send("modest", at_s=0.1, **small)) for _ in range(3)]
        ended_s = max([(await each).done_s for each in modest])
        assert sum([(await each).done_s <= ended_s for each in greedy]) <= 4

    simulate(scenario)


SIDES_PX = st.sampled_from([64, 128, 256, 512, 1024])
LONG_S = 100.0
LOOK_S = 0.02


@settings(max_examples=6, deadline=None, phases=[Phase.explicit, Phase.generate])
@given(sides_px=st.tuples(SIDES_PX, SIDES_PX), reproducible=st.tuples(st.booleans(), st.booleans()))
@example(sides_px=(64, 1024), reproducible=(True, False))
def test_clients_get_equal_seconds_of_the_device_whatever_the_size_of_their_images(
    sides_px: tuple[int, int], reproducible: tuple[bool, bool]
) -> None:
    """A step costs a fixed part beside that of its pixels, so small images take more of the device than their pixels tell."""

    async def scenario() -> None:
        # Batches are smaller than what waits: a client without a waiting request has no claim to what it had too little.
        bench, had_s = Bench(overhead_s=0.1, max_rows=2), dict.fromkeys("ab", 0.0)

        async def sending(client: str, side_px: int, alone: bool) -> None:
            stated: dict[str, Any] = {"width": side_px, "height": side_px, "reproducible": alone}
            while True:
                await bench.send(client, prompt=client, num_inference_steps=10, **stated)

        tasks = [
            asyncio.create_task(sending(client, *stated))
            for client, *stated in zip("ab", sides_px, reproducible, strict=True)
            for _ in range(5)
        ]
        for _ in range(int(LONG_S / LOOK_S)):
            await asyncio.sleep(LOOK_S)
            running = [request.prompt for request in bench.engine.running if isinstance(request, GenerationRequest)]
            for client in had_s:
                had_s[client] += LOOK_S * running.count(client) / max(1, len(running))
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
        assert abs(had_s["a"] - had_s["b"]) <= 0.1 * LONG_S, had_s

    simulate(scenario)


def test_models_that_do_not_fit_together_change_places_only_as_often_as_pays() -> None:
    async def scenario() -> None:
        bench = Bench(models=1, load_s=5.0)
        requests = [
            asyncio.create_task(bench.send(client, name, num_inference_steps=100, width=1024, height=1024))
            for client, name in (("x", "a"), ("y", "b"))
        ]
        for request in requests:
            await request
        worked_s = 2 * 100 * step_s_of(1024)
        assert len(bench.engine.loads) >= 2
        swaps = bench.pool.stats()
        assert bench.time() <= 1.3 * worked_s, (bench.time(), worked_s, swaps)

    simulate(scenario)


def step_s_of(side_px: int) -> float:
    return side_px**2 / 2048**2 * 3.4


def test_a_single_client_is_never_interrupted() -> None:
    async def scenario() -> None:
        bench = Bench()
        sent = [
            asyncio.create_task(bench.send("x", num_inference_steps=20, width=1024, height=1024 + 8 * index))
            for index in range(4)
        ]
        done = [await each for each in sent]
        assert [each.done_s for each in done] == sorted(each.done_s for each in done)
        assert len(bench.engine.requests) == 4

    simulate(scenario)


def test_priorities_order_the_requests_of_one_client_and_take_nothing_from_another() -> None:
    async def scenario() -> None:
        bench = Bench()
        loud = [
            asyncio.create_task(
                bench.send("loud", num_inference_steps=10, width=1024, height=1024 + 8 * index, priority="high")
            )
            for index in range(10)
        ]
        quiet = await bench.send("quiet", at_s=1.0, num_inference_steps=4, width=512, height=512, priority="low")
        assert quiet.delay_s <= SLICE_S + 1.0
        await asyncio.gather(*loud)

    simulate(scenario)


CLIENT = st.lists(
    st.fixed_dictionaries(
        {
            "name": st.sampled_from("ab"),
            "at_s": st.floats(0, 60),
            "num_inference_steps": st.integers(1, 80),
            "width": st.sampled_from([512, 1024, 2048]),
            "height": st.sampled_from([512, 1024, 2048]),
            "n": st.integers(1, 4),
            "priority": st.sampled_from(["low", "normal", "high"]),
        }
    ),
    min_size=1,
    max_size=4,
)


ANY_CLIENTS = (st.lists(CLIENT, min_size=1, max_size=4), st.floats(0, 100), st.integers(1, 2))


@settings(max_examples=6, deadline=None, phases=[Phase.explicit, Phase.generate])
@given(*ANY_CLIENTS)
@example(
    [[{"name": "a", "at_s": 0.0, "num_inference_steps": 80, "width": 2048, "height": 2048, "priority": "high"}]],
    30.0,
    1,
)
def test_a_small_request_waits_a_slice_and_a_step_a_client_at_most(
    clients: list[list[dict[str, Any]]], at_s: float, models: int
) -> None:
    check_delay(clients, at_s, models)


@pytest.mark.slow
@settings(max_examples=100, deadline=None, phases=[Phase.explicit, Phase.generate])
@given(*ANY_CLIENTS)
def test_a_small_request_waits_a_slice_and_a_step_a_client_at_most_beside_any_others(
    clients: list[list[dict[str, Any]]], at_s: float, models: int
) -> None:
    check_delay(clients, at_s, models)


def check_delay(clients: list[list[dict[str, Any]]], at_s: float, models: int) -> None:
    async def scenario() -> None:
        bench = Bench(models, decodes=True)
        others = [
            asyncio.create_task(bench.send(f"client {number}", **request))
            for number, requests in enumerate(clients)
            for request in requests
        ]
        small = await bench.send("small", at_s=at_s, num_inference_steps=4, width=256, height=256)
        assert small.delay_s <= len(clients) * (SLICE_S + 3.4 + 1e-6)
        for other in others:
            await other
        assert (bench.dispatcher.depth, bench.pool.stats().leases) == (0, 0)
        bench.pool.check_integrity()

    simulate(scenario)
