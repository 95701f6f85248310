"""A server with two devices: what clients see of them, and what becomes of requests and jobs if one hangs."""

import asyncio
from collections.abc import Awaitable, Callable

import httpx
import pytest
from litestar import Litestar

from litestar_diffusion import DeviceLost, DiffusionConfig, DiffusionPlugin, EngineStuck, GenerationParameters, Settings
from litestar_diffusion.lifecycle import Services
from litestar_diffusion.settings import DispatchSettings, JobsSettings
from litestar_diffusion.testing import FakeEngine, fake_machine, fake_services, model
from tests.domain.simulation import rounds

BODY = {"prompt": "x", "num_inference_steps": 2}


class Bench:
    """An application with fake devices x and y, and its client."""

    def __init__(self, client: httpx.AsyncClient, plugin: DiffusionPlugin, engines: list[FakeEngine]) -> None:
        self.client, self.plugin, self.engines = client, plugin, engines

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(20):
            while not condition():  # noqa: ASYNC110 - what is waited for has no event
                await asyncio.sleep(0.005)

    async def hang(self) -> int:
        """Let the device hang that runs the only request; returns its number."""
        await self.until(lambda: any(engine.running for engine in self.engines))
        hung = next(place for place, engine in enumerate(self.engines) if engine.running)
        self.engines[1 - hung].gate.set()
        await asyncio.sleep(0.03)  # longer than `stuck_after_s`
        self.plugin.services.dispatcher.check_devices()
        return hung


def run(scenario: Callable[[Bench], Awaitable[None]]) -> None:
    async def main() -> None:
        engines = fake_machine("x", "y")

        def build(settings: Settings) -> Services:
            return fake_services(model("demo"), model("other"), settings=settings, engine=engines)

        settings = Settings(dispatch=DispatchSettings(stuck_after_s=0.01), jobs=JobsSettings(directory=""))
        plugin = DiffusionPlugin(DiffusionConfig(settings=settings, build=build))
        app = Litestar(plugins=[plugin])
        transport = httpx.ASGITransport(app=app)  # type: ignore[arg-type]
        async with app.lifespan(), httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
            bench = Bench(client, plugin, engines)
            await bench.until(lambda: plugin.services.not_ready_because() is None)
            await asyncio.wait_for(scenario(bench), 60)

    asyncio.run(main())


def test_the_pool_the_metrics_and_dry_runs_show_each_device() -> None:
    async def scenario(bench: Bench) -> None:
        for engine in bench.engines:
            engine.gate.clear()
        sent = [asyncio.create_task(bench.client.post("/generate/demo", json=BODY)) for _ in range(4)]
        await bench.until(lambda: all(engine.running for engine in bench.engines))
        for engine in bench.engines:
            engine.gate.set()
        made = await asyncio.gather(*sent)
        assert {answer.status_code for answer in made} == {200}
        pool = (await bench.client.get("/pool")).json()
        assert [(device["name"], device["serves"], device["models"]) for device in pool["devices"]] == [
            ("x", True, ["demo"]),
            ("y", True, ["demo"]),
        ]
        assert [component["devices"] for component in pool["components"]] == [["x", "y"]]
        assert (pool["host"]["weights_nbytes"], pool["device"]["weights_nbytes"]) == (100, 200)
        moved = [each["facts"]["device"] for each in pool["decisions"] if each["what"] == "model_placed"]
        assert sorted(moved) == ["x", "y"]
        metrics = (await bench.client.get("/metrics")).text
        assert 'litestar_diffusion_device_serves{device="x"} 1.0' in metrics
        assert 'litestar_diffusion_device_weights_bytes{device="y"} 100.0' in metrics
        dry = (await bench.client.post("/generate/demo?dry_run=true", json=BODY)).json()
        assert dry["device"] in ("x", "y")
        assert (await bench.client.get("/")).json()["device"] == "x, y"

    run(scenario)


def test_a_request_on_a_device_that_hangs_is_told_and_the_server_stays_ready() -> None:
    async def scenario(bench: Bench) -> None:
        for engine in bench.engines:
            engine.gate.clear()
        running = asyncio.create_task(bench.client.post("/generate/demo", json=BODY))
        hung = await bench.hang()
        assert ((answer := await running).status_code, answer.json()["code"]) == (503, "engine_stuck")
        assert (await bench.client.get("/health/ready")).status_code == 200
        assert (await bench.client.post("/generate/demo", json=BODY)).status_code == 200
        devices = (await bench.client.get("/pool")).json()["devices"]
        assert [device["serves"] for device in devices] == [place != hung for place in range(2)]
        assert "has finished no step" in devices[hung]["out_because"]
        bench.engines[hung].gate.set()

    run(scenario)


def test_a_job_on_a_device_that_hangs_runs_again_on_another_one() -> None:
    async def scenario(bench: Bench) -> None:
        for engine in bench.engines:
            engine.gate.clear()
        accepted = await bench.client.post("/jobs/demo", json=BODY)
        hung = await bench.hang()
        jobs = bench.plugin.services.job_store
        job = await jobs.get(accepted.json()["id"])
        await bench.until(lambda: job.over)
        assert (job.state, job.restarts) == ("done", 1)
        assert [len(engine.requests) for engine in bench.engines] == [1, 1]
        bench.engines[hung].gate.set()

    run(scenario)


def test_a_job_on_a_device_that_is_lost_runs_again_and_the_process_is_to_be_restarted_once_all_are() -> None:
    async def scenario(bench: Bench) -> None:
        for engine in bench.engines:
            engine.gate.clear()
        accepted = await bench.client.post("/jobs/demo", json=BODY)
        await bench.until(lambda: any(engine.running for engine in bench.engines))
        lost = next(engine for engine in bench.engines if engine.running)
        lost.lost = DeviceLost(lost.name, "CUDA error: an illegal memory access was encountered")
        for engine in bench.engines:
            engine.gate.set()
        job = await bench.plugin.services.job_store.get(accepted.json()["id"])
        await bench.until(lambda: job.over)
        assert (job.state, job.restarts) == ("done", 1)
        assert [len(engine.requests) for engine in bench.engines] == [1, 1]
        assert (await bench.client.get("/health/live")).status_code == 200
        assert (await bench.client.get("/health/ready")).status_code == 200
        other = next(engine for engine in bench.engines if engine is not lost)
        other.lost = DeviceLost(other.name, "CUDA error: an illegal memory access was encountered")
        answer = await bench.client.post("/generate/demo", json=BODY)
        assert (answer.status_code, answer.json()["code"]) == (503, "device_lost")
        for path in ("/health/live", "/health/ready"):
            answer = await bench.client.get(path)
            assert (answer.status_code, answer.json()["status"]) == (503, "failed")
            assert "Restart the server" in answer.json()["detail"]

    run(scenario)


def test_a_job_is_told_if_the_second_device_hangs_too() -> None:
    async def scenario(bench: Bench) -> None:
        for engine in bench.engines:
            engine.gate.clear()
        jobs = bench.plugin.services.job_store
        job = await jobs.post("demo", GenerationParameters(prompt="x", num_inference_steps=2))
        hung = await bench.hang()
        bench.engines[1 - hung].gate.clear()
        await rounds()
        await bench.until(lambda: job.over or bool(bench.engines[1 - hung].running))
        if not job.over:
            await asyncio.sleep(0.02)
            bench.plugin.services.dispatcher.check_devices()
            with pytest.raises(EngineStuck):
                await jobs.result(job)
        assert job.restarts <= 1
        for engine in bench.engines:
            engine.gate.set()

    run(scenario)
