"""Requests that share steps, and the order of those that cannot: on a fake engine that refuses a batch of different lanes."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from litestar_diffusion.domain.dispatch.dispatcher import Dispatcher, Resolve
from litestar_diffusion.domain.dispatch.fair_queue import AgingPolicy, QueuedJob
from litestar_diffusion.domain.dispatch.job import Job
from litestar_diffusion.domain.dispatch.policy import DispatchPolicy
from litestar_diffusion.domain.dispatch.stage import Stage
from litestar_diffusion.domain.errors import (
    Cancelled,
    DeviceLost,
    EngineStuck,
    GenerationFailed,
    TooManyRequests,
    WaitedTooLong,
)
from litestar_diffusion.domain.memory.budget import Budget
from litestar_diffusion.domain.memory.plan import Plan
from litestar_diffusion.domain.memory.pool import DevicePool
from litestar_diffusion.domain.models.spec import ModelName, ModelSpec
from litestar_diffusion.domain.requests.parameters import GenerationParameters, Limits
from litestar_diffusion.domain.requests.progress import Progress, QueueProgress
from litestar_diffusion.domain.requests.rendering import NO_SAVINGS
from litestar_diffusion.domain.requests.resolving.resolution import resolve
from litestar_diffusion.testing import FakeCatalogue, FakeEngine, component, fake_catalogues, model

MODELS = [
    *(model(name) for name in "abc"),
    replace(model("a"), name=ModelName("preset"), version="1.1", files_version="1", base=ModelName("a")),
]
PLAN = Plan(memory_savings=NO_SAVINGS, activation_nbytes=1, step_nbytes=1)
AGING = AgingPolicy(max_overtaken=4, max_wait_s=1000)


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


class Bench:
    """A dispatcher on a fake device with memory for `models` models."""

    def __init__(self, models: int = 3, *, engine: FakeEngine | None = None, **policy: Any) -> None:
        self.engine, self.clock = engine or FakeEngine(), Clock()
        budget = Budget(device_nbytes=models * 100 + 64, host_nbytes=None)
        self.pool = DevicePool(fake_catalogues(FakeCatalogue(MODELS)), self.engine, budget, clock=self.clock)
        policy = {"aging": AGING, **policy}
        self.dispatcher = Dispatcher(
            self.pool, self.engine, DispatchPolicy(**policy), clock=self.clock, plan=lambda *_: PLAN
        )
        self.progress: list[Progress] = []
        self.tasks: list[asyncio.Task[Any]] = []

    def send(self, name: str = "a", client: str = "", named: str = "", **said: Any) -> asyncio.Task[Any]:
        """Send a request for an image; its seed is its number."""
        number = len(self.tasks)
        body = GenerationParameters(**{"prompt": "x", "seed": number, "num_inference_steps": 3, **said})
        job = Job(
            id=named or str(number),
            model=model(name).name,
            client=client,
            priority=body.priority,
            on_progress=self.progress.append,
        )
        self.tasks.append(asyncio.create_task(self.dispatcher.run(job, _resolver(body))))
        return self.tasks[-1]

    def count_overtaken(self) -> Counter[str]:
        """Count from now on, by id of a job, the later jobs that start while it waits and could run."""
        queue, overtaken = self.dispatcher._queue, Counter[str]()
        start = queue.started

        def started(queued: QueuedJob) -> None:
            leasing = [other for other in queue.waiting() if other.may_lease.is_set() and not other.leased]
            overtaken.update(o.job.id for o in queue.waiting() if o.number < queued.number and o not in leasing)
            start(queued)

        queue.started = started
        return overtaken

    async def done(self) -> list[int]:
        """Wait for all, and return the numbers of those that ran, in the order in which they began."""
        await asyncio.gather(*self.tasks)
        return [request.seeds[0] for request in self.engine.requests]


def _resolver(parameters: GenerationParameters) -> Resolve:
    async def resolved(spec: ModelSpec) -> Sequence[Stage]:
        return (Stage.of(resolve(parameters, spec, Limits(), random_seed=0).request),)

    return resolved


def run(scenario: Callable[[], Awaitable[Any]]) -> None:
    async def bounded() -> None:
        await asyncio.wait_for(scenario(), 30)

    asyncio.run(bounded())


async def rounds(count: int = 30) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


def test_requests_of_one_lane_run_together_and_later_ones_join_between_steps() -> None:
    async def scenario() -> None:
        bench = Bench()
        bench.send(num_inference_steps=50)
        await rounds()
        bench.send(num_inference_steps=2, sampler="ddim", guidance_scale=1.0)
        await bench.tasks[1]
        assert not bench.tasks[0].done()
        assert bench.engine.most_together == 2
        await bench.done()

    run(scenario)


def test_requests_to_a_preset_run_together_with_those_to_its_base() -> None:
    async def scenario() -> None:
        bench = Bench()
        bench.engine.components = {name: (component("unet", 100),) for name in ("a", "preset")}
        bench.send("a", num_inference_steps=50)
        await rounds()
        bench.send("preset", num_inference_steps=2)
        bench.send("b", num_inference_steps=2)
        await bench.tasks[1]
        assert not bench.tasks[0].done()
        assert {request.model for request in bench.engine.running} == {"a"}
        assert bench.engine.most_together == 2
        await bench.done()

    run(scenario)


def test_no_more_rows_run_together_than_are_allowed() -> None:
    async def scenario() -> None:
        bench = Bench(max_rows=4)
        for _ in range(7):
            bench.send()
        await bench.done()
        assert bench.engine.most_together == 2  # two rows each

    run(scenario)


def test_a_batch_stays_within_the_memory_budget() -> None:
    async def scenario() -> None:
        bench = Bench(models=1)
        bench.pool.set_budget(Budget(device_nbytes=102, host_nbytes=None))
        for _ in range(6):
            bench.send(guidance_scale=1.0)
        await bench.done()
        assert bench.engine.most_together == 2  # one byte each beside the model's hundred

    run(scenario)


def test_higher_priorities_go_first_until_another_request_is_overdue() -> None:
    async def scenario(waited_s: float, expected: list[int]) -> None:
        bench = Bench()
        bench.engine.gate.clear()
        bench.send(reproducible=True)
        await rounds()
        bench.send(priority="low", reproducible=True)
        await rounds()
        bench.clock.now += waited_s
        bench.send(priority="high", reproducible=True)
        bench.send(reproducible=True)
        await rounds()
        bench.engine.gate.set()
        assert await bench.done() == expected

    # One is ready beside the one that runs, so that the device need not wait: the low one, before the others came.
    run(lambda: scenario(0.0, [0, 2, 3, 1]))
    run(lambda: scenario(2000.0, [0, 1, 2, 3]))


def test_a_request_for_another_model_is_overtaken_only_max_overtaken_times() -> None:
    async def scenario() -> None:
        bench = Bench(models=1)
        bench.engine.gate.clear()
        for name in "aaaba":
            bench.send(name, reproducible=True)
            await rounds()
        for _ in range(20):
            bench.send("a", reproducible=True)
        await rounds()
        bench.engine.gate.set()
        order = await bench.done()
        assert 4 <= order.index(3) <= AGING.max_overtaken + 5
        assert bench.engine.loads.count("b") == 1
        assert bench.engine.moved_nbytes <= 3 * 100

    run(scenario)


def test_the_next_model_is_loaded_while_the_present_one_works() -> None:
    async def scenario() -> None:
        bench = Bench(models=2)
        bench.engine.gate.clear()
        bench.send("a", reproducible=True)
        await rounds()
        bench.send("b")
        await rounds(100)
        assert bench.engine.requests[0].model == "a"
        assert bench.pool.status(model("b").name).residency == "device"
        bench.engine.gate.set()
        await bench.done()

    run(scenario)


def test_every_waiting_request_is_told_its_position() -> None:
    async def scenario() -> None:
        bench = Bench()
        bench.engine.gate.clear()
        for _ in range(4):
            bench.send(reproducible=True)
        await rounds()
        assert [bench.dispatcher.position(str(number)) for number in range(4)] == [None, 0, 1, 2]
        bench.engine.gate.set()
        await bench.done()
        positions = [made.position for made in bench.progress if isinstance(made, QueueProgress)]
        assert {0, 1, 2} <= set(positions)

    run(scenario)


def test_requests_of_the_same_id_are_two_requests() -> None:
    """A client may send one x-request-id twice."""

    async def scenario() -> None:
        bench = Bench()
        bench.engine.gate.clear()
        first, second = bench.send(named="same"), bench.send(named="same")
        await rounds()
        assert len(bench.engine.running) == 2
        bench.engine.gate.set()
        await asyncio.gather(first, second)

    run(scenario)


def test_waiting_requests_are_counted_by_model() -> None:
    async def scenario() -> None:
        bench = Bench(models=1)
        bench.engine.gate.clear()
        for name in "aabb":
            bench.send(name, reproducible=True)
        await rounds()
        report = dict(bench.pool.report().models)
        counted = bench.dispatcher.waiting_by_model() + Counter(
            {name: status.waiting for name, status in report.items()}
        )
        assert counted == {"b": 2}  # the second for "a" holds its lease already, and waits for its turn alone
        assert counted.keys() <= report.keys()
        bench.engine.gate.set()
        await bench.done()
        assert not bench.dispatcher.waiting_by_model()

    run(scenario)


def test_a_client_may_not_have_more_waiting_than_its_share() -> None:
    async def scenario() -> None:
        bench = Bench(max_waiting_per_client=2)
        bench.engine.gate.clear()
        for _ in range(3):
            bench.send(client="greedy", reproducible=True)
            await rounds()
        with pytest.raises(TooManyRequests, match="You have 2 waiting requests") as caught:
            await bench.send(client="greedy", reproducible=True)
        assert caught.value.retry_after_s >= 1
        bench.tasks.pop()
        bench.send(client="modest")
        bench.engine.gate.set()
        await bench.done()

    run(scenario)


def test_one_client_leaves_places_in_the_queue_for_others() -> None:
    async def scenario() -> None:
        bench = Bench(max_waiting=8)
        bench.engine.gate.clear()
        bench.send(client="greedy", reproducible=True)
        await rounds()
        accepted = 0
        for _ in range(20):
            bench.send(client="greedy", reproducible=True)
            await rounds(3)
            accepted += not bench.tasks[-1].done()
        assert accepted == 4
        with pytest.raises(
            TooManyRequests, match=r"4 waiting requests, as many as there are free places .*\(4, limits"
        ):
            await bench.tasks[-1]
        for number in range(8):
            bench.send(client=f"other {number}", reproducible=True)
            await rounds(3)
        assert [task.done() for task in bench.tasks[-8:]] == [False] * 4 + [True] * 4
        bench.engine.gate.set()
        await asyncio.gather(*bench.tasks, return_exceptions=True)

    run(scenario)


def test_a_request_that_waited_too_long_is_told_when_to_try_again() -> None:
    async def scenario() -> None:
        bench = Bench(max_wait_s=0.02)
        bench.engine.gate.clear()
        first = bench.send(reproducible=True)
        await rounds()
        with pytest.raises(WaitedTooLong, match="Try again"):
            await bench.send()
        bench.engine.gate.set()
        await first

    run(scenario)


def test_an_unresponsive_device_is_noticed_and_all_requests_fail() -> None:
    async def scenario() -> None:
        bench = Bench(stuck_after_s=10)
        bench.engine.gate.clear()
        running, waiting = bench.send(reproducible=True), bench.send(reproducible=True)
        await rounds()
        bench.clock.now += 11
        bench.dispatcher.check_device()
        outcomes = await asyncio.gather(running, waiting, return_exceptions=True)
        assert [type(outcome) for outcome in outcomes] == [EngineStuck, EngineStuck]
        assert "step" in (bench.dispatcher.unresponsive_because or "")
        with pytest.raises(EngineStuck):
            await bench.send()
        assert len(bench.engine.requests) == 1  # nothing was tried again
        bench.engine.gate.set()  # it moves again, and the job that was given up ends
        await rounds()
        assert bench.dispatcher.unresponsive_because is None
        assert bench.dispatcher.depth == 0
        await bench.send()

    run(scenario)


class SilentEngine(FakeEngine):
    """Reports no step, and fails once its gate opens."""

    async def generate(self, *_arguments: Any, **_named: Any) -> Any:
        await self.gate.wait()
        self._fail("generate")


def test_a_device_that_was_silent_and_then_fails_a_request_answers_again() -> None:
    async def scenario() -> None:
        bench = Bench(engine=SilentEngine(), stuck_after_s=10)
        bench.engine.gate.clear()
        bench.engine.failures["generate"] = GenerationFailed("injected")
        sent = bench.send()
        await rounds()
        bench.clock.now += 11
        bench.dispatcher.check_device()
        with pytest.raises(EngineStuck):
            await sent
        bench.engine.gate.set()
        await rounds()
        assert bench.dispatcher.unresponsive_because is None
        bench.dispatcher.refuse_if_full("")

    run(scenario)


def test_a_lost_device_ends_all_requests_at_once_and_takes_no_more() -> None:
    async def scenario() -> None:
        bench = Bench()
        bench.engine.gate.clear()
        sent = [bench.send(reproducible=True) for _ in range(3)]
        await rounds()
        bench.engine.lost = DeviceLost("cuda:0", "CUDA error: an illegal memory access was encountered")
        bench.engine.gate.set()
        outcomes = await asyncio.gather(*sent, return_exceptions=True)
        assert [type(outcome) for outcome in outcomes] == [DeviceLost] * 3
        assert "illegal memory access" in (bench.dispatcher.unresponsive_because or "")
        with pytest.raises(DeviceLost, match="Restart the server"):
            await bench.send()
        await rounds()
        assert len(bench.engine.requests) == 1  # nothing was tried again
        assert bench.dispatcher.depth == 0

    run(scenario)


REQUESTS = st.lists(
    st.fixed_dictionaries(
        {
            "name": st.sampled_from("abc"),
            "client": st.sampled_from(["x", "y"]),
            "priority": st.sampled_from(["low", "normal", "high"]),
            "reproducible": st.booleans(),
            "width": st.sampled_from([64, 128]),
            "num_inference_steps": st.integers(1, 6),
            "n": st.integers(1, 3),
        }
    ),
    min_size=1,
    max_size=25,
)


@settings(max_examples=80, deadline=None)
@given(
    REQUESTS, st.integers(1, 3), st.lists(st.tuples(st.integers(0, 24), st.integers(0, 30)), max_size=5), st.booleans()
)
def test_every_request_gets_exactly_one_answer_and_none_starves(
    requests: list[dict[str, Any]], models: int, cancelled: list[tuple[int, int]], failing: bool
) -> None:
    async def scenario() -> None:
        bench = Bench(models)
        for request in requests:
            bench.send(**request)
        if failing:
            bench.engine.failures["generate"] = GenerationFailed("injected")
        for number, after in cancelled:
            await rounds(after)
            bench.tasks[number % len(bench.tasks)].cancel()
        outcomes = await asyncio.gather(*bench.tasks, return_exceptions=True)
        expected = (GenerationFailed, Cancelled, asyncio.CancelledError)
        assert all(not isinstance(o, BaseException) or isinstance(o, expected) for o in outcomes), outcomes
        assert sum(isinstance(o, GenerationFailed) for o in outcomes) <= 1
        served = [made.seeds[0] for made in bench.engine.requests]
        assert len(served) == len(set(served))
        bench.pool.check_integrity()
        assert (bench.dispatcher.depth, bench.pool.stats().leases, bench.pool.stats().waiting) == (0, 0, 0)

    run(scenario)


@settings(max_examples=60, deadline=None)
@example([(name, False) for name in "aabcbc"] + [("c", True)] + [(name, False) for name in "acabbb"], 2)
@example([("a", False), ("b", True), ("c", False)] + [("a", False)] * 9 + [("b", False)], 2)
@example([(name.lower(), name == "A") for name in "abcaAAAAAbbab"], 2)
@given(st.lists(st.tuples(st.sampled_from("abc"), st.booleans()), min_size=2, max_size=40), st.integers(1, 2))
def test_no_request_is_overtaken_more_often_than_allowed(requests: list[tuple[str, bool]], models: int) -> None:
    """Equal jobs of one client queue in order of arrival; at most `max_overtaken` later jobs are served before one.

    Jobs that are served while it waits for its lease do not count: its model is being loaded, so it could not run.
    """

    async def scenario() -> None:
        bench = Bench(models, max_rows=4)
        overtaken = bench.count_overtaken()
        bench.engine.gate.clear()
        for name, reproducible in requests:
            bench.send(name, reproducible=reproducible)
            await rounds()
        bench.engine.gate.set()
        await bench.done()
        # Four more: the jobs that held their lease already, and a full batch.
        assert max(overtaken.values(), default=0) <= AGING.max_overtaken + 4, overtaken

    run(scenario)
