"""The fakes for hosts: ready with default settings, and in place of an application's engine for as long as a test runs."""

import time
from typing import Any

from litestar import Litestar
from litestar.testing import TestClient

from litestar_diffusion import DiffusionConfig, DiffusionPlugin, Settings
from litestar_diffusion.bootstrap import build
from litestar_diffusion.settings import LimitsSettings, ModelsSettings
from litestar_diffusion.testing import FakeEngine, fake_services, faked, model

BODY = {"prompt": "x", "num_inference_steps": 2, "width": 64, "height": 64}


def until_ready(client: Any) -> Any:
    deadline = time.monotonic() + 30
    while (answer := client.get("/health/ready")).status_code != 200 and time.monotonic() < deadline:
        pass
    return answer.json()["status"]


def test_fakes_are_ready_with_default_settings_whatever_their_models_are_called() -> None:
    for specs in ((), (model("mine"), model("other"))):
        plugin = DiffusionPlugin(DiffusionConfig(build=lambda _, specs=specs: fake_services(*specs)))
        with TestClient(Litestar(plugins=[plugin])) as client:
            assert until_ready(client) == "ready"
            assert client.get("/").json()["default_model"] == (specs[0].name if specs else "demo")


def test_a_default_model_of_the_settings_is_kept() -> None:
    for stated in ("other", None, "missing"):
        settings = Settings(models=ModelsSettings(default=stated))
        assert fake_services(model("mine"), model("other"), settings=settings).settings.models.default == stated


def test_an_application_is_faked_until_the_block_ends_with_its_own_settings() -> None:
    config = DiffusionConfig(settings=Settings(limits=LimitsSettings(max_n=1)))
    app = Litestar(plugins=[DiffusionPlugin(config)])
    with faked(app, model("mine")) as engine, TestClient(app) as client:
        assert client.post("/generate/mine", json=BODY).status_code == 200
        assert client.post("/generate/mine", json={**BODY, "n": 2}).status_code == 400
        assert [request.prompt for request in engine.requests] == ["x"]
    assert config.build is build


def test_the_engine_of_the_test_is_used() -> None:
    app, mine = Litestar(plugins=[DiffusionPlugin()]), FakeEngine(name="mine")
    with faked(app, engine=mine) as engine, TestClient(app) as client:
        assert engine is mine
        assert client.get("/").json()["device"] == "mine"
