"""The dispatcher: order, bounds, cancellation, failures of single jobs, shutdown."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from litestar_diffusion.domain.dispatch.dispatcher import Dispatcher, Resolve
from litestar_diffusion.domain.dispatch.job import Job
from litestar_diffusion.domain.dispatch.policy import DispatchPolicy
from litestar_diffusion.domain.dispatch.stage import Stage
from litestar_diffusion.domain.errors import Cancelled, GenerationFailed, QueueFull, ShuttingDown
from litestar_diffusion.domain.memory.plan import Plan
from litestar_diffusion.domain.memory.pool import DevicePool
from litestar_diffusion.domain.models.spec import ModelSpec
from litestar_diffusion.domain.requests.parameters import GenerationParameters, Limits
from litestar_diffusion.domain.requests.rendering import NO_SAVINGS
from litestar_diffusion.domain.requests.resolving.resolution import resolve
from litestar_diffusion.testing import FakeCatalogue, FakeEngine, fake_catalogues, model
from tests.domain.dispatch.simulated_device import Bench as SimulatedBench
from tests.domain.dispatch.simulated_device import simulate

SPEC = model("a")
PLAN = Plan(memory_savings=NO_SAVINGS, activation_nbytes=0)


class Bench:
    """A dispatcher on a fake engine, and jobs for it."""

    def __init__(self, max_waiting: int = 100) -> None:
        self.engine = FakeEngine()
        self.pool = DevicePool(fake_catalogues(FakeCatalogue([SPEC])), self.engine)
        self.dispatcher = Dispatcher(
            self.pool, self.engine, DispatchPolicy(max_waiting=max_waiting), plan=lambda *_: PLAN
        )
        self.done: list[str] = []
        self.jobs: dict[str, Job] = {}

    async def run(self, name: str, steps: int = 3, **said: Any) -> None:
        parameters = GenerationParameters(**{"prompt": "x", "num_inference_steps": steps, "reproducible": True, **said})
        job = self.jobs[name] = Job(id=name, model=SPEC.name)
        await self.dispatcher.run(job, _resolver(parameters))
        self.done.append(name)

    def start(self, name: str, steps: int = 3, **said: Any) -> asyncio.Task[None]:
        return asyncio.create_task(self.run(name, steps, **said))


def _resolver(parameters: GenerationParameters) -> Resolve:
    async def resolved(spec: ModelSpec) -> Sequence[Stage]:
        return (Stage.of(resolve(parameters, spec, Limits(), random_seed=0).request),)

    return resolved


def run(scenario: Callable[[], Awaitable[Any]]) -> None:
    async def bounded() -> None:
        await asyncio.wait_for(scenario(), 30)

    asyncio.run(bounded())


async def rounds(count: int = 20) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


def test_jobs_run_in_the_order_of_their_arrival() -> None:
    async def scenario() -> None:
        bench = Bench()
        await asyncio.gather(*(bench.start(str(index), steps=5 - index) for index in range(5)))
        assert bench.done == ["0", "1", "2", "3", "4"]

    run(scenario)


def test_a_full_queue_refuses_with_its_limit_and_a_time_to_try_again() -> None:
    async def scenario() -> None:
        bench = Bench(max_waiting=1)
        bench.engine.gate.clear()
        first, second = bench.start("1"), bench.start("2")
        await rounds()
        with pytest.raises(QueueFull, match=r"1 waiting request, its limit \(limits.max_waiting\)") as caught:
            await bench.run("3")
        assert caught.value.retry_after_s >= 1
        bench.engine.gate.set()
        await asyncio.gather(first, second)

    run(scenario)


def test_a_failure_fails_one_job_alone() -> None:
    async def scenario() -> None:
        bench = Bench()
        bench.engine.failures["generate"] = GenerationFailed("injected")
        outcomes = await asyncio.gather(*(bench.start(str(i)) for i in range(3)), return_exceptions=True)
        assert [type(outcome) for outcome in outcomes] == [GenerationFailed, type(None), type(None)]
        assert bench.pool.stats().leases == 0

    run(scenario)


def test_cancelling_stops_the_work_before_the_lease_ends() -> None:
    async def scenario() -> None:
        bench = Bench()
        running = bench.start("1", steps=100)
        while bench.jobs["1"].steps_done < 3 if "1" in bench.jobs else True:  # noqa: ASYNC110 - the job has no event to wait for
            await asyncio.sleep(0)
        running.cancel()
        await asyncio.wait([running])
        assert bench.jobs["1"].steps_done < 10
        assert bench.pool.stats().leases == 0
        assert bench.dispatcher.depth == 0
        await bench.run("2")

    run(scenario)


def test_closing_ends_waiting_jobs_and_drains_running_ones() -> None:
    async def scenario() -> None:
        bench = Bench()
        bench.engine.gate.clear()
        running, waiting = bench.start("1"), bench.start("2")
        await rounds()
        bench.dispatcher.close()
        with pytest.raises(ShuttingDown):
            await bench.run("3")
        bench.engine.gate.set()
        await bench.dispatcher.drain(10)
        assert await running is None
        with pytest.raises(ShuttingDown):
            await waiting

    run(scenario)


def test_a_job_that_outlives_its_grace_is_stopped_at_a_step() -> None:
    async def scenario() -> None:
        bench = Bench()
        running = bench.start("1", steps=150)
        await rounds(5)
        bench.dispatcher.close()
        await bench.dispatcher.drain(0)
        with pytest.raises((ShuttingDown, Cancelled)):
            await running

    run(scenario)


def test_draining_and_clients_that_leave_wait_for_a_silent_device_until_the_watchdog_speaks() -> None:
    async def scenario() -> None:
        bench = SimulatedBench(stuck_after_s=600.0)
        bench.engine.gate.clear()
        running = asyncio.create_task(bench.send("x", num_inference_steps=3))
        left = asyncio.create_task(bench.send("y", num_inference_steps=3))
        await asyncio.sleep(1)
        left.cancel()
        running.cancel()
        bench.dispatcher.close()
        await bench.dispatcher.drain(30)
        assert bench.time() == pytest.approx(600, abs=5)
        outcomes = await asyncio.gather(running, left, return_exceptions=True)
        assert [type(outcome) for outcome in outcomes] == [asyncio.CancelledError] * 2

    simulate(scenario)


def test_a_job_that_is_stopped_while_it_gives_way_takes_no_other_turn() -> None:
    async def scenario() -> None:
        bench = SimulatedBench(models=1, decodes=True)
        huge = asyncio.create_task(bench.send("x", "a", num_inference_steps=1, width=2048, height=2048, n=4))
        await asyncio.sleep(3.4 * 2)
        other = asyncio.create_task(bench.send("y", "b", num_inference_steps=30, width=512, height=512))
        await asyncio.sleep(2.0)
        huge.cancel()
        await asyncio.wait([huge])
        await other
        assert bench.engine.loads == ["a", "b"]
        assert len(bench.engine.requests) == 2

    simulate(scenario)


def test_a_job_whose_model_is_replaced_while_it_gives_way_begins_again_with_a_warning() -> None:
    async def scenario() -> None:
        bench = SimulatedBench()
        huge = asyncio.create_task(bench.send("x", num_inference_steps=4, width=2048, height=2048))
        others = [
            asyncio.create_task(bench.send(client, at_s=3.5, num_inference_steps=2, width=1024, height=side_px))
            for client, side_px in (("y", 1024), ("z", 1032))
        ]
        await asyncio.sleep(7.5)
        assert [request.width for request in bench.engine.running] == [1024]
        bench.replace_model()
        silent, warned = [await other for other in others], await huge
        assert all((each.version, each.warnings) == ("1", ()) for each in silent)
        assert warned.version == "2"
        (warning,) = warned.warnings
        assert warning.startswith("Model 'a' was replaced while the images were being made.")
        assert warned.done_s == pytest.approx(silent[-1].done_s + 4 * 3.4), "all of its steps are by the new version"

    simulate(scenario)


def test_a_job_whose_model_is_replaced_while_it_waits_is_told_that_its_defaults_are_of_the_old_one() -> None:
    async def scenario() -> None:
        bench = SimulatedBench()
        sent = [
            asyncio.create_task(bench.send("x", num_inference_steps=4, width=512, height=512, reproducible=True))
            for _ in range(4)
        ]
        await asyncio.sleep(0.1)
        bench.replace_model()
        first, *_, last = [await each for each in sent]
        assert (first.version, first.warnings) == ("1", ())
        assert last.version == "2"
        assert last.warnings[0].startswith("Model 'a' was replaced while the request waited.")

    simulate(scenario)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(["start", "cancel", "fail", "wait"]), st.integers(0, 9)), max_size=40))
def test_every_job_ends_and_leaves_nothing_behind(actions: list[tuple[str, int]]) -> None:
    async def scenario() -> None:
        bench, tasks = Bench(), list[asyncio.Task[None]]()
        for action, number in actions:
            if action == "start":
                tasks.append(bench.start(str(len(tasks)), steps=1 + number))
            elif action == "cancel" and tasks:
                tasks[number % len(tasks)].cancel()
            elif action == "fail":
                bench.engine.failures["generate"] = GenerationFailed("injected")
            await rounds(number)
        outcomes = await asyncio.gather(*tasks, return_exceptions=True)
        assert all(o is None or isinstance(o, (GenerationFailed, asyncio.CancelledError)) for o in outcomes), outcomes
        bench.pool.check_integrity()
        assert (bench.dispatcher.depth, bench.pool.stats().leases) == (0, 0)

    run(scenario)
