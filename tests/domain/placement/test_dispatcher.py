"""A machine of simulated devices: shares, limits, devices that fail or hang, and what holds whatever happens."""

import asyncio
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from litestar_diffusion.domain.errors import (
    Cancelled,
    DeviceLost,
    EngineFailed,
    EngineStuck,
    GenerationFailed,
    InsufficientMemory,
    QueueFull,
    ShuttingDown,
    TooManyRequests,
    WaitedTooLong,
)
from litestar_diffusion.domain.memory.plan import Plan
from litestar_diffusion.testing import FakeEngine, fake_machine
from tests.domain.dispatch.simulated_device import simulate
from tests.domain.placement.machine_bench import PLAN, STEP_S, LateEngines, MachineBench


async def rounds(count: int = 50) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


def test_requests_of_one_model_take_half_of_the_time_on_two_devices() -> None:
    async def scenario() -> None:
        ends: list[float] = []
        for names in ("x", "xy", "wxyz"):
            bench = MachineBench(names)
            begun = bench.time()
            await asyncio.gather(*(bench.send(str(number)) for number in range(16)))
            ends.append(bench.time() - begun)
            bench.check_idle()
        assert ends == [pytest.approx(48 * STEP_S), pytest.approx(24 * STEP_S), pytest.approx(12 * STEP_S)]

    simulate(scenario)


def test_a_model_is_read_once_for_all_devices_and_its_bytes_on_the_host_count_once() -> None:
    async def scenario() -> None:
        bench = MachineBench("xyz")
        made = await asyncio.gather(*(bench.send(str(number)) for number in range(6)))
        assert {outcome.device for outcome in made} == set("xyz")
        assert bench.engines[0].loads == ["a"]
        stats = bench.pool.stats()
        assert (stats.host_nbytes, stats.device_nbytes) == (100, 300)
        assert await bench.pool.unload("a")
        assert [engine.device_nbytes for engine in bench.engines] == [0, 0, 0]
        bench.check_idle()

    simulate(scenario)


def test_models_stay_on_the_devices_that_have_them() -> None:
    async def scenario() -> None:
        bench = MachineBench("xy", models=2)
        for turn in range(3):
            await asyncio.gather(*(bench.send(f"{turn}{name}", name) for name in "abcd"))
        assert sum(engine.moved_nbytes for engine in bench.engines) == 400
        bench.check_idle()

    simulate(scenario)


def test_the_limit_of_waiting_requests_is_that_of_all_devices_together() -> None:
    async def scenario() -> None:
        bench = MachineBench("xy", max_waiting=3)
        running = [asyncio.create_task(bench.send(str(number), client=str(number))) for number in range(5)]
        await rounds()
        assert isinstance((await bench.send("6", client="6")).error, QueueFull)
        assert all(outcome.error is None for outcome in await asyncio.gather(*running))
        bench.check_idle()

    simulate(scenario)


def test_the_limit_of_a_client_is_that_of_all_devices_together() -> None:
    async def scenario() -> None:
        bench = MachineBench("xy", max_waiting_per_client=1)
        running = [asyncio.create_task(bench.send(str(number), client="A")) for number in range(3)]
        await rounds()
        assert isinstance((await bench.send("4", client="A")).error, TooManyRequests)
        other = asyncio.create_task(bench.send("5", client="B"))
        assert all(outcome.error is None for outcome in await asyncio.gather(*running, other))

    simulate(scenario)


@pytest.mark.parametrize("devices", [2, 4])
def test_clients_share_all_devices_equally_however_many_requests_one_sends(devices: int) -> None:
    async def scenario() -> None:
        bench = MachineBench("wxyz"[:devices])
        many = [asyncio.create_task(bench.send(f"A{number}", client="A")) for number in range(15 * devices)]
        await rounds()
        few = [asyncio.create_task(bench.send(f"B{number}", client="B")) for number in range(5 * devices)]
        ended_s = max(outcome.ended_s for outcome in await asyncio.gather(*few))
        before = sum(outcome.ended_s <= ended_s for outcome in await asyncio.gather(*many))
        # As many of A as of B, and the two batches that each device was given before B came.
        assert 5 * devices - 2 <= before <= 7 * devices
        bench.check_idle()

    simulate(scenario)


def test_clients_share_all_devices_by_seconds_and_not_by_pixels() -> None:
    async def scenario() -> None:
        bench = MachineBench("xy")  # a step takes a second, however large the image is
        small = [asyncio.create_task(bench.send(f"A{number}", client="A", width=64)) for number in range(40)]
        large = [asyncio.create_task(bench.send(f"B{number}", client="B", width=512)) for number in range(40)]
        await asyncio.sleep(60)
        done = [sum(each.done() for each in of_client) for of_client in (small, large)]
        assert abs(done[0] - done[1]) <= 4, done
        await asyncio.gather(*small, *large)
        bench.check_idle()

    simulate(scenario)


def test_a_request_of_another_client_takes_its_turn_on_devices_that_are_busy_for_long() -> None:
    async def scenario() -> None:
        bench = MachineBench("xy")
        long = [
            asyncio.create_task(bench.send(f"A{number}", client="A", num_inference_steps=90)) for number in range(6)
        ]
        await asyncio.sleep(5)
        short = await bench.send("B", client="B")
        assert short.error is None
        assert short.ended_s < 15
        await asyncio.gather(*long)

    simulate(scenario)


def test_a_device_that_hangs_is_taken_out_and_only_what_it_ran_is_told() -> None:
    async def scenario() -> None:
        bench = MachineBench("xy")
        x, y = bench.engines
        x.gate.clear()
        sent = [asyncio.create_task(bench.send(str(number))) for number in range(8)]
        await asyncio.sleep(60)
        bench.dispatcher.check_devices()
        outcomes = await asyncio.gather(*sent)
        told = [outcome for outcome in outcomes if outcome.error is not None]
        assert [type(outcome.error) for outcome in told] == [EngineStuck]
        assert {outcome.device for outcome in outcomes if outcome.error is None} == {"y"}
        assert (await bench.send("next")).device == "y"
        assert [report.out_because is None for report in bench.pool.devices()] == [False, True]
        assert bench.dispatcher.unresponsive_because is None
        x.gate.set()  # it goes on after all, and is used again
        await asyncio.sleep(5)
        later = await asyncio.gather(*(bench.send(f"later {number}") for number in range(4)))
        assert {outcome.device for outcome in later} == {"x", "y"}
        bench.check_idle()
        assert len(y.requests) >= 8

    simulate(scenario)


def test_if_all_devices_hang_every_request_is_told_and_new_ones_are_refused() -> None:
    async def scenario() -> None:
        bench = MachineBench("xy")
        for engine in bench.engines:
            engine.gate.clear()
        sent = [asyncio.create_task(bench.send(str(number))) for number in range(8)]
        await asyncio.sleep(60)
        bench.dispatcher.check_devices()
        outcomes = await asyncio.gather(*sent)
        assert {type(outcome.error) for outcome in outcomes} == {EngineStuck}
        assert isinstance((await bench.send("next")).error, EngineStuck)
        assert bench.dispatcher.unresponsive_because is not None

    simulate(scenario)


def test_a_device_that_is_lost_is_left_for_good_and_only_what_it_ran_is_told() -> None:
    async def scenario() -> None:
        bench = MachineBench("xy")
        x, y = bench.engines
        sent = [asyncio.create_task(bench.send(str(number))) for number in range(8)]
        await asyncio.sleep(STEP_S / 2)
        x.lost = DeviceLost("x", "CUDA error: unspecified launch failure")
        outcomes = await asyncio.gather(*sent)
        told = [outcome for outcome in outcomes if outcome.error is not None]
        assert [type(outcome.error) for outcome in told] == [DeviceLost]
        assert {outcome.device for outcome in outcomes if outcome.error is None} == {"y"}
        assert [report.out_because is None for report in bench.pool.devices()] == [False, True]
        assert bench.dispatcher.unresponsive_because is None
        made = len(x.requests)
        assert {(await bench.send(f"later {number}")).device for number in range(4)} == {"y"}
        assert len(x.requests) == made
        y.lost = DeviceLost("y", "CUDA error: unspecified launch failure")
        bench.dispatcher.check_devices()
        assert isinstance((await bench.send("last")).error, DeviceLost)
        assert "unspecified launch failure" in (bench.dispatcher.unresponsive_because or "")
        assert bench.dispatcher.depth == 0

    simulate(scenario)


class NoSuchDevice(FakeEngine):
    """A device that cannot be used."""

    @property
    def failure(self) -> EngineFailed:
        return EngineFailed("no such device")

    async def start(self) -> None:
        raise self.failure


@pytest.mark.parametrize(("first", "second"), [(FakeEngine, NoSuchDevice), (NoSuchDevice, FakeEngine)])
def test_a_device_that_does_not_start_is_left_out(first: type[FakeEngine], second: type[FakeEngine]) -> None:
    async def scenario() -> None:
        x = first(name="x", step_s=lambda _request: STEP_S)
        bench = MachineBench(engines=[x, second(name="y", beside=x, step_s=lambda _request: STEP_S)])
        made = await asyncio.gather(*(bench.send(str(number)) for number in range(4)))
        assert {outcome.device for outcome in made} == {"x" if first is FakeEngine else "y"}
        assert (await bench.pool.fetch("b")).name == "b"
        bench.check_idle()

    simulate(scenario)


def test_if_no_device_starts_every_request_is_told() -> None:
    async def scenario() -> None:
        bench = MachineBench(engines=[NoSuchDevice(name="x"), NoSuchDevice(name="y")])
        assert isinstance((await bench.send("1")).error, EngineFailed)

    simulate(scenario)


def test_requests_that_come_before_the_devices_are_known_are_spread_over_all_of_them() -> None:
    async def scenario() -> None:
        bench = MachineBench("xyz", complete=False)
        sent = [asyncio.create_task(bench.send(str(number))) for number in range(6)]
        await asyncio.sleep(2)
        assert bench.dispatcher.depth == 6
        machine = bench.devices._machine
        assert isinstance(machine, LateEngines)
        machine.may_start.set()
        assert {outcome.device for outcome in await asyncio.gather(*sent)} == set("xyz")
        bench.check_idle()

    simulate(scenario)


def test_a_request_for_which_one_device_is_too_small_runs_on_another() -> None:
    def planning(device: str) -> Any:
        def plan(*_request: Any) -> Plan:
            if device == "x":
                raise InsufficientMemory("too large", needed_nbytes=2, available_nbytes=1)
            return replace(PLAN)

        return plan

    async def scenario() -> None:
        bench = MachineBench("xy", plan=planning)
        made = await asyncio.gather(*(bench.send(str(number)) for number in range(3)))
        assert {outcome.device for outcome in made} == {"y"}
        bench = MachineBench("x", plan=planning)
        assert isinstance((await bench.send("1")).error, InsufficientMemory)

    simulate(scenario)


def test_a_request_whose_only_device_is_lost_is_told_that_the_others_are_too_small() -> None:
    def planning(device: str) -> Any:
        def plan(_spec: Any, request: Any) -> Plan:
            if device == "x" and request.width > 64:
                raise InsufficientMemory("too large", needed_nbytes=2, available_nbytes=1)
            return replace(PLAN)

        return plan

    async def scenario() -> None:
        bench = MachineBench("xy", plan=planning)
        _, y = bench.engines
        busy = [asyncio.create_task(bench.send(f"{number}", num_inference_steps=20)) for number in range(6)]
        await asyncio.sleep(1.0)
        large = asyncio.create_task(bench.send("large", width=128, client="L"))
        await asyncio.sleep(1.0)
        y.lost = DeviceLost("y", "CUDA error: unspecified launch failure")
        assert isinstance((await asyncio.wait_for(large, 100)).error, InsufficientMemory)
        assert (await bench.send("small", client="S")).device == "x"
        await asyncio.gather(*busy)
        assert bench.dispatcher.depth == 0

    simulate(scenario)


def test_a_request_that_finds_no_device_in_time_is_refused() -> None:
    async def scenario() -> None:
        bench = MachineBench("xy", max_wait_s=4.0)
        outcomes = await asyncio.gather(*(bench.send(str(number)) for number in range(8)))
        assert [type(outcome.error) for outcome in outcomes].count(WaitedTooLong) == 4
        assert max(outcome.ended_s for outcome in outcomes if outcome.error is not None) == pytest.approx(4.0)
        bench.check_idle()

    simulate(scenario)


def test_closing_ends_what_waits_and_finishes_what_runs() -> None:
    async def scenario() -> None:
        bench = MachineBench("xy")
        sent = [asyncio.create_task(bench.send(str(number))) for number in range(8)]
        await asyncio.sleep(1)
        bench.dispatcher.close()
        assert isinstance((await bench.send("late")).error, ShuttingDown)
        await bench.dispatcher.drain(100)
        outcomes = await asyncio.gather(*sent)
        assert [type(outcome.error) for outcome in outcomes].count(ShuttingDown) == 6
        bench.check_idle()

    simulate(scenario)


EVENTS = st.lists(
    st.tuples(
        st.sampled_from(["send", "send", "send", "cancel", "fail", "hang", "recover", "check", "wait"]),
        st.integers(0, 5),
    ),
    min_size=3,
    max_size=30,
)


@settings(max_examples=60)
@given(events=EVENTS, devices=st.integers(2, 4))
def test_every_request_ends_once_and_nothing_stays_held_whatever_happens(
    events: list[tuple[str, int]], devices: int
) -> None:
    async def scenario() -> None:
        bench = MachineBench(
            "wxyz"[:devices], models=2, engines=fake_machine(*"wxyz"[:devices], step_s=lambda _: STEP_S)
        )
        sent: list[asyncio.Task[Any]] = []
        for number, (what, chosen) in enumerate(events):
            engine = bench.engines[chosen % devices]
            match what:
                case "send":
                    name = "abcd"[chosen % 4]
                    sent.append(asyncio.create_task(bench.send(str(number), name, client=str(chosen % 3))))
                case "cancel" if sent:
                    sent[chosen % len(sent)].cancel()
                case "fail":
                    engine.failures["generate"] = GenerationFailed("injected")
                case "hang":
                    engine.gate.clear()
                case "recover":
                    engine.gate.set()
                case "check":
                    await asyncio.sleep(60)
                    bench.dispatcher.check_devices()
                case _:
                    await asyncio.sleep(chosen)
            await rounds(chosen)
            bench.pool.check_integrity()
        for engine in bench.engines:
            engine.gate.set()
            engine.failures.clear()
        outcomes = await asyncio.gather(*sent, return_exceptions=True)
        allowed = (type(None), GenerationFailed, EngineStuck, Cancelled)
        for outcome in outcomes:
            assert isinstance(outcome, asyncio.CancelledError) or isinstance(outcome.error, allowed), outcome
        await asyncio.sleep(10)
        bench.check_idle()
        assert (await bench.send("at last")).error is None

    simulate(scenario)
