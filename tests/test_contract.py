"""One contract for the fake engine and the torch engine, so that a host's tests with the fake tell about the real one."""

import time
from collections.abc import Iterator
from typing import Any

import pytest
from litestar import Litestar
from litestar.testing import TestClient

from litestar_diffusion import DiffusionConfig, DiffusionPlugin, Settings
from litestar_diffusion.settings import LimitsSettings, ModelsSettings
from litestar_diffusion.testing import faked
from tests.pictures import opened

BODY = {"prompt": "a red circle", "seed": 7, "num_inference_steps": 3, "width": 128, "height": 64}
SETTINGS = Settings(models=ModelsSettings(directory=None, hub_enabled=False), limits=LimitsSettings(max_n=2))
START_S = 120


@pytest.fixture(scope="class")
def client(request: pytest.FixtureRequest) -> Iterator[Any]:
    app = Litestar(plugins=[DiffusionPlugin(DiffusionConfig(settings=SETTINGS))], logging_config=None)
    if request.param == "torch":
        with TestClient(app) as client:
            yield client
    else:
        with faked(app), TestClient(app) as client:
            yield client


@pytest.mark.parametrize("client", ["fake", "torch"], indirect=True, scope="class")
class TestContract:
    def test_it_becomes_ready_with_its_default_model_loaded(self, client: Any) -> None:
        assert client.post("/models/demo/load").status_code == 200, "waits for the start, without asking all the time"
        deadline = time.monotonic() + START_S
        while (answer := client.get("/health/ready")).status_code != 200 and time.monotonic() < deadline:
            pass
        assert answer.json()["status"] == "ready"
        assert client.get("/").json()["loaded"] == ["demo"]

    def test_pictures_have_the_size_and_the_seeds_that_were_asked_for(self, client: Any) -> None:
        made = client.post("/generate/demo", json={**BODY, "n": 2}).json()
        assert [(image["seed"], image["width"], image["height"]) for image in made["images"]] == [
            (7, 128, 64),
            (8, 128, 64),
        ]
        raw = client.post("/generate/demo", json=BODY, headers={"accept": "image/png"})
        assert opened(raw.content).size == (128, 64)

    def test_equal_seeds_make_equal_pictures_and_others_do_not(self, client: Any) -> None:
        one, again, other = (
            client.post("/generate/demo", json={**BODY, "seed": seed}).json()["images"][0]["image"]
            for seed in (7, 7, 9)
        )
        assert one == again != other

    @pytest.mark.parametrize(
        ("wrong", "field"), [({"n": 3}, "n"), ({"width": 100_000}, "width"), ({"num_inference_steps": 151}, "num_inf")]
    )
    def test_limits_of_the_settings_are_obeyed(self, client: Any, wrong: dict[str, Any], field: str) -> None:
        refused = client.post("/generate/demo", json={**BODY, **wrong})
        assert (refused.status_code, refused.json()["code"]) == (400, "invalid_request")
        assert refused.json()["errors"][0]["field"].startswith(field)

    def test_a_model_that_does_not_exist_is_refused_with_those_that_do(self, client: Any) -> None:
        refused = client.post("/generate/nope", json=BODY)
        assert refused.status_code == 404
        assert "demo" in refused.json()["available"]

    def test_models_are_unloaded_and_loaded_and_the_history_says_so(self, client: Any) -> None:
        assert client.post("/models/demo/unload").json()["residency"] == "cold"
        assert client.get("/pool").json()["components"] == []
        assert client.post("/generate/demo", json=BODY).json()["residency"] == "cold"
        assert client.post("/generate/demo", json=BODY).json()["residency"] == "hot"
        pool = client.get("/pool").json()
        assert pool["host"]["weights_nbytes"] == sum(component["nbytes"] for component in pool["components"]) > 0
        assert {"model_loaded", "model_unloaded"} <= {decision["what"] for decision in pool["decisions"]}

    def test_a_job_counts_its_steps_and_keeps_its_pictures(self, client: Any) -> None:
        url = client.post("/jobs/demo", json=BODY).headers["location"]
        events = [line for line in client.get(f"{url}/events").text.splitlines() if line.startswith("event: ")]
        assert events[-1] == "event: done"
        job = client.get(url).json()
        assert (job["state"], job["steps_done"], job["steps_total"]) == ("done", 3, 3)
        assert job["result"]["images"][0]["seed"] == 7

    def test_a_dry_run_tells_of_a_request_without_making_it(self, client: Any) -> None:
        told = client.post("/generate/demo?dry_run=true", json=BODY).json()
        assert told["parameters"]["num_inference_steps"] == 3
        assert told["memory"]["weights_nbytes"] > 0

    def test_metrics_count_pictures(self, client: Any) -> None:
        assert 'litestar_diffusion_images_total{model="demo"}' in client.get("/metrics").text
