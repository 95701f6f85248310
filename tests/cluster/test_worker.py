"""What workers answer, and what an ingress makes of it: everything but Ray."""

import asyncio
import pickle
from collections.abc import Awaitable, Callable, Sequence

import msgspec
import pytest
from litestar.testing import TestClient

from litestar_diffusion.cluster.autoscaling import workers_for
from litestar_diffusion.cluster.ingress import ingress_app
from litestar_diffusion.cluster.messages import Answer, Call, Failed, GenerateCall
from litestar_diffusion.cluster.remote import RemoteImageGenerator
from litestar_diffusion.cluster.worker import Worker
from litestar_diffusion.cluster.worker_settings import settings_of_workers
from litestar_diffusion.domain.access.api_key import ApiKey, hash_of
from litestar_diffusion.domain.access.key_ring import client_named
from litestar_diffusion.domain.errors import InvalidRequest, LoadFailed, UnknownModel
from litestar_diffusion.domain.generator import Generated, ImageGenerator
from litestar_diffusion.domain.jobs.failures import error_of
from litestar_diffusion.domain.requests.parameters import GenerationParameters
from litestar_diffusion.domain.requests.progress import Progress, StepProgress
from litestar_diffusion.domain.requests.render_request import RenderRequest
from litestar_diffusion.settings import ServerSettings, Settings
from litestar_diffusion.testing import FakeEngine, fake_services, model

RED = GenerationParameters(prompt="a red circle", seed=7, n=2)


class Wire:
    """Calls one worker of this process; all that goes between is pickled, as by Ray."""

    def __init__(self, worker: Worker) -> None:
        self._worker = worker

    async def call(self, call: Call, on_progress: Callable[[Progress], None] = lambda _progress: None) -> Answer:
        stream = self._worker.answer(pickle.loads(pickle.dumps(call)))
        try:
            async for message in stream:
                message = pickle.loads(pickle.dumps(message))
                if isinstance(message, Failed):
                    raise error_of(message.failure)
                if isinstance(message, Answer):
                    return message
                on_progress(message)
        finally:
            await stream.aclose()  # pyright: ignore[reportAttributeAccessIssue] - it is a generator
        raise AssertionError("no answer")


async def until(condition: Callable[[], bool]) -> None:
    for _ in range(10_000):
        if condition():
            return
        await asyncio.sleep(0.001)
    raise AssertionError("it did not come true")


def worker(engine: FakeEngine) -> Worker:
    return Worker(
        Settings(), build=lambda settings: fake_services(model("a"), model("b"), settings=settings, engine=engine)
    )


def run(scenario: Callable[[FakeEngine, Worker, ImageGenerator], Awaitable[None]]) -> None:
    async def main() -> None:
        engine = FakeEngine()
        made = worker(engine)
        local = fake_services(model("a"), model("b"))
        async with local.running():
            try:
                await asyncio.wait_for(scenario(engine, made, RemoteImageGenerator(Wire(made), local.generator)), 30)
            finally:
                await made.stop()

    asyncio.run(main())


def test_images_progress_and_facts_come_through() -> None:
    async def scenario(engine: FakeEngine, _worker: Worker, remote: ImageGenerator) -> None:
        seen = list[Progress]()
        generated = await remote.generate("a", RED, job_id="one", on_progress=seen.append)
        assert isinstance(generated, Generated)
        assert (generated.id, [image.seed for image in generated.images]) == ("one", [7, 8])
        assert generated.request.prompt == "a red circle"
        assert any(isinstance(progress, StepProgress) for progress in seen)
        assert engine.loads == ["a"]

    run(scenario)


def test_errors_of_a_worker_are_what_they_were() -> None:
    async def scenario(engine: FakeEngine, _worker: Worker, remote: ImageGenerator) -> None:
        engine.failures["load"] = LoadFailed("The file is broken.")
        with pytest.raises(LoadFailed, match="broken") as raised:
            await remote.generate("a", RED)
        assert raised.value.code == LoadFailed.code
        with pytest.raises(UnknownModel):
            await remote.generate("nothing", RED)
        with pytest.raises(InvalidRequest) as refused:
            await remote.generate("b", GenerationParameters(prompt="x", n=10_000))
        assert [error.field for error in refused.value.errors] == ["n"]

    run(scenario)


def test_an_unexpected_error_is_one_of_ours_with_its_reason() -> None:
    async def scenario(_engine: FakeEngine, made: Worker, _remote: ImageGenerator) -> None:
        services = await made.started()
        services.generator = None  # type: ignore[assignment]
        call = GenerateCall(model="a", parameters=RED, job_id="x", client="", previews=False)
        with pytest.raises(Exception, match="unexpected error") as raised:
            await Wire(made).call(call)
        assert raised.value.code == "internal_error"  # type: ignore[attr-defined]

    run(scenario)


def test_cancelling_ends_the_work_on_the_worker() -> None:
    async def scenario(engine: FakeEngine, made: Worker, remote: ImageGenerator) -> None:
        steps = list[RenderRequest]()

        def step_s(request: RenderRequest) -> float:
            steps.append(request)
            return 0.01

        engine.step_s = step_s
        engine.gate.clear()
        task = asyncio.create_task(remote.generate("a", msgspec.structs.replace(RED, num_inference_steps=100)))
        await until(lambda: bool(engine.running))
        task.cancel()
        await asyncio.sleep(0)
        engine.gate.set()  # the work ends between two steps
        with pytest.raises(asyncio.CancelledError):
            await task
        services = await made.started()
        await until(lambda: not services.dispatcher.depth)
        assert services.pool.stats().leases == 0
        assert len(steps) < 50

    run(scenario)


def test_a_worker_tells_how_long_its_queue_is_and_whether_its_device_answers() -> None:
    async def scenario(engine: FakeEngine, made: Worker, remote: ImageGenerator) -> None:
        assert made.record_autoscaling_stats() == {"wait_s": 0.0}
        made.check_health()
        engine.gate.clear()
        tasks = [asyncio.create_task(remote.generate("a", RED)) for _ in range(3)]
        await until(lambda: bool(engine.running))
        assert made.record_autoscaling_stats()["wait_s"] > 0
        engine.gate.set()
        await asyncio.gather(*tasks)

    run(scenario)


@pytest.mark.parametrize(
    ("waits_s", "now", "target_s", "expected"),
    [
        ([], 3, 20, 3),
        ([0, 0], 2, 20, 1),
        ([30, 30], 2, 20, 3),
        ([200.0], 1, 20, 10),
        ([19.9], 1, 20, 1),
    ],
)
def test_there_are_as_many_workers_as_work_off_the_queues_in_time(
    waits_s: Sequence[float], now: int, target_s: float, expected: int
) -> None:
    assert workers_for(waits_s, now, target_s) == expected


def test_an_ingress_speaks_every_api_and_makes_nothing_itself() -> None:
    made = worker(FakeEngine())
    settings = Settings(server=ServerSettings(insecure=True, allowed_hosts=("*",)))
    with TestClient(ingress_app(settings, Wire(made))) as http:
        while http.get("/health/ready").status_code != 200:
            pass
        answer = http.post("/generate/demo", json={"prompt": "x"})
        assert (answer.status_code, answer.json()["code"]) == (404, "unknown_model"), "the worker has other models"
        assert http.get("/pool").status_code == 404
        assert http.get("/").json()["device"] == "cluster"
        assert http.post("/models/demo/load").status_code in (404, 405)
        http.blocking_portal.call(made.stop)


def test_a_worker_limits_the_waiting_requests_of_a_key() -> None:
    async def scenario() -> None:
        key = ApiKey(hash=hash_of("secret"), scopes=("generate",), max_waiting=1)
        settings, engine = settings_of_workers(Settings(keys={"shop": key})), FakeEngine()
        engine.gate.clear()
        one = Worker(settings, build=lambda settings: fake_services(model("a"), settings=settings, engine=engine))
        calls = [
            GenerateCall(model="a", parameters=RED, job_id=name, client=client_named("shop"), previews=False)
            for name in "abcd"
        ]
        calling = [asyncio.create_task(Wire(one).call(call)) for call in calls]
        done, waiting = await asyncio.wait(calling, return_when=asyncio.FIRST_COMPLETED, timeout=20)
        engine.gate.set()
        await asyncio.gather(*waiting, return_exceptions=True)
        assert "keys.shop.max_waiting" in str(done.pop().exception())
        await one.stop()

    asyncio.run(scenario())
