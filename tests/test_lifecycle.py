"""The life of the services: one lifespan each, and failures in the background that are noticed."""

import asyncio
from typing import Any

import pytest
from litestar import Litestar
from litestar.testing import AsyncTestClient, TestClient

from litestar_diffusion import DiffusionConfig, DiffusionPlugin, Settings
from litestar_diffusion.asgi import create_app
from litestar_diffusion.bootstrap import build
from litestar_diffusion.domain.errors import LoadFailed
from litestar_diffusion.domain.memory import loading
from litestar_diffusion.settings import DeviceSettings, ModelsSettings
from litestar_diffusion.testing import FakeEngine, fake_services, model
from tests.domain.dispatch.simulated_device import simulate

BODY = {"prompt": "x", "seed": 7, "num_inference_steps": 1, "width": 64, "height": 64}


def test_the_same_application_can_be_started_again() -> None:
    app = Litestar(plugins=[DiffusionPlugin(DiffusionConfig(build=lambda _: fake_services(model("demo"))))])
    images: list[Any] = []
    for _ in range(2):
        with TestClient(app) as client:
            answer = client.post("/generate/demo", json=BODY)
            assert answer.status_code == 200, answer.text
            images.append(answer.json()["images"])
    assert images[0] == images[1]


def test_the_standalone_application_can_be_started_again_with_the_torch_engine() -> None:
    app = create_app(Settings(models=ModelsSettings(directory=None, default=None, hub_enabled=False)))
    images: list[Any] = []
    for _ in range(2):
        with TestClient(app, base_url="http://127.0.0.1") as client:
            answer = client.post("/generate/demo", json=BODY)
            assert answer.status_code == 200, answer.text
            images.append(answer.json()["images"])
            assert 'litestar_diffusion_images_total{model="demo"} 1.0' in client.get("/metrics").text, (
                "of this lifespan"
            )
    assert images[0] == images[1]


def test_a_device_that_does_not_exist_is_told_in_readiness_and_in_every_refusal() -> None:
    models = ModelsSettings(directory=None, default="demo", hub_enabled=False)
    app = create_app(Settings(models=models, device=DeviceSettings(name="cuda:97")))
    with TestClient(app, base_url="http://127.0.0.1") as client:
        for path in (
            "/generate/demo",
            "/generate/demo?dry_run=true",
            "/models/demo/load",
            "/generate/demo",
            "/jobs/demo",
        ):
            answer = client.post(path, json=BODY)
            assert (answer.status_code, answer.json()["code"]) == (503, "engine_failed"), answer.text
            assert "The settings name the device 'cuda:97' (device.name or device.names)" in answer.json()["detail"]
            assert "Set it to 'auto' or 'cpu'" in answer.json()["detail"]
        ready = client.get("/health/ready")
        assert (ready.status_code, ready.json()["status"]) == (503, "failed")
        assert "cuda:97" in ready.json()["detail"]
        assert client.get("/pool").status_code == 200


def test_outside_of_a_lifespan_there_are_no_services_and_the_error_says_so() -> None:
    plugin = DiffusionPlugin(DiffusionConfig(build=lambda _: fake_services(model("demo"))))
    with pytest.raises(RuntimeError, match="lifespan"):
        _ = plugin.services
    with TestClient(Litestar(plugins=[plugin])):
        assert plugin.services.catalogue.get("demo").name == "demo"
    with pytest.raises(RuntimeError, match="lifespan"):
        _ = plugin.services


def test_a_background_task_that_fails_ends_readiness_and_says_which() -> None:
    async def main() -> None:
        services = fake_services(model("demo"))

        async def broken(_idle_s: float) -> None:
            raise ZeroDivisionError

        services.pool.unload_idle = broken  # type: ignore[method-assign]
        services.settings = Settings(memory=type(services.settings.memory)(idle_timeout_s=0.001))
        plugin = DiffusionPlugin(DiffusionConfig(build=lambda _: services))
        async with AsyncTestClient(Litestar(plugins=[plugin])) as client:
            while "unload idle models" not in (ready := (await client.get("/health/ready")).json())["detail"]:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
            assert ready["status"] == "failed"
            assert (await client.post("/generate/demo", json=BODY)).status_code == 200, "images can still be made"

    asyncio.run(asyncio.wait_for(main(), 30))


def test_a_default_model_that_fails_to_load_is_tried_again_and_keeps_no_other_from_memory(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(loading, "BACK_OFF_S", 0.0)  # of the real clock

    async def scenario() -> None:
        engine = FakeEngine()
        engine.failures["load"] = LoadFailed("the disk did not answer")
        models = ModelsSettings(directory=None, default="demo", preload=("other",), hub_enabled=False)
        services = fake_services(model("demo"), model("other"), settings=Settings(models=models), engine=engine)
        async with services.running():
            await asyncio.sleep(0.5)
            assert services.not_ready_because() == "the disk did not answer"
            assert not services.failed
            assert engine.loads == ["demo", "other"]
            await asyncio.sleep(10.0)
            assert services.not_ready_because() is None
            assert engine.loads == ["demo", "other", "demo"]

    simulate(scenario)


def test_ending_twice_and_ending_early_are_harmless() -> None:
    async def main() -> None:
        engine = FakeEngine()
        services = fake_services(model("demo"), engine=engine)
        async with services.running():
            await services.end()
            await services.end()
        assert services.not_ready_because() == "The server is shutting down."

    asyncio.run(main())


def test_a_pinned_model_is_pinned_although_no_request_has_looked_for_it_yet() -> None:
    """The first look at the files may still be going on when the engine starts."""

    async def main() -> None:
        settings = Settings(models=ModelsSettings(directory=None, default=None, pinned=("demo",), hub_enabled=False))
        services = build(settings, engine=FakeEngine())
        async with services.running():
            while services.not_ready_because() is not None:  # noqa: ASYNC110
                await asyncio.sleep(0.001)
            assert services.pool.status("demo").pinned

    asyncio.run(asyncio.wait_for(main(), 30))


def test_services_of_an_earlier_lifespan_are_refused() -> None:
    used = fake_services(model("demo"))
    app = Litestar(plugins=[DiffusionPlugin(DiffusionConfig(build=lambda _: used))])
    with TestClient(app) as client:
        assert client.post("/generate/demo", json=BODY).status_code == 200
    with pytest.raises(ExceptionGroup) as caught, TestClient(app):
        pass
    assert caught.group_contains(RuntimeError, match="Build new ones")


def test_every_part_is_ended_if_ending_one_before_it_fails() -> None:
    async def main() -> None:
        ended: list[str] = []

        class Engine(FakeEngine):
            async def stop(self) -> None:
                ended.append("engine")

        async def broken(*_: Any) -> None:
            raise ZeroDivisionError

        services = fake_services(model("demo"), engine=Engine())
        services.dispatcher.drain = broken  # type: ignore[method-assign]
        with pytest.raises(ZeroDivisionError):
            async with services.running():
                pass
        assert ended == ["engine"]

    asyncio.run(main())


def test_one_plugin_in_two_running_applications_is_refused() -> None:
    plugin = DiffusionPlugin(DiffusionConfig(build=lambda _: fake_services(model("demo"))))
    one, other = Litestar(plugins=[plugin]), Litestar(plugins=[plugin])
    with TestClient(one), pytest.raises(ExceptionGroup) as caught, TestClient(other):
        pass
    assert caught.group_contains(RuntimeError, match="of its own")
