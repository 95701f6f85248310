"""Every route takes an alias for a model, and answers with the model's own name."""

from collections.abc import Iterator
from typing import Any

import pytest
from litestar import Litestar
from litestar.testing import TestClient

from litestar_diffusion import DiffusionConfig, DiffusionPlugin, Settings
from litestar_diffusion.settings import ModelsSettings
from litestar_diffusion.testing import fake_services, model

SETTINGS = Settings(models=ModelsSettings(default="dall-e-3", aliases={"dall-e-3": "demo", "lost": "gone"}))


@pytest.fixture(scope="module")
def client() -> Iterator[TestClient[Litestar]]:
    def build(settings: Settings) -> Any:
        return fake_services(model("demo"), model("other"), settings=settings)

    with TestClient(Litestar(plugins=[DiffusionPlugin(DiffusionConfig(settings=SETTINGS, build=build))])) as running:
        yield running


def test_generation_dry_runs_and_jobs(client: TestClient[Litestar]) -> None:
    made = client.post("/generate/gpt-image-1", json={"prompt": "x", "seed": 3})
    assert (made.status_code, made.json()["model"]) == (200, "demo")
    assert client.post("/generate/gpt-image-1?dry_run=true", json={"prompt": "x"}).json()["model"] == "demo"
    job = client.post("/jobs/gpt-image-1", json={"prompt": "x"}).json()
    assert job["model"] == "demo"
    assert client.get(job["url"]).json()["model"] == "demo"


def test_a_key_that_was_sent_with_an_alias_joins_the_work_of_the_real_name(client: TestClient[Litestar]) -> None:
    sent: dict[str, Any] = {"json": {"prompt": "x"}, "headers": {"idempotency-key": "alias"}}
    answers = [client.post(f"/generate/{name}", **sent) for name in ("gpt-image-1", "demo", "dall-e-3")]
    assert {(answer.status_code, answer.json()["id"]) for answer in answers} == {(200, answers[0].json()["id"])}
    assert client.post("/generate/other", **sent).status_code == 409


def test_moving_models(client: TestClient[Litestar]) -> None:
    for action in ("load", "pin", "unpin", "unload"):
        moved = client.post(f"/models/dall-e-2/{action}")
        assert (moved.status_code, moved.json()["name"]) == (200, "demo"), action
    assert [pooled["name"] for pooled in client.get("/pool").json()["models"]] == ["demo"]


def test_aliases_are_listed_and_shown(client: TestClient[Litestar]) -> None:
    listed = {view["name"]: view["aliases"] for view in client.get("/models").json()}
    assert {"default", "gpt-image-1", "dall-e-3"} <= set(listed["demo"])
    assert listed["other"] == []
    assert client.get("/models/dall-e-3").json()["name"] == "demo"
    facts = client.get("/").json()
    assert facts["aliases"]["gpt-image-1"] == "demo"
    assert facts["models"] == ["demo", "other"]
    assert facts["default_model"] == "demo", "an alias may be the default"


def test_an_alias_that_leads_nowhere_is_unknown_and_says_why(client: TestClient[Litestar]) -> None:
    refused = client.post("/generate/lost", json={"prompt": "x"})
    assert (refused.status_code, refused.json()["code"]) == (404, "unknown_model")
    assert "alias of 'gone'" in refused.json()["detail"]
    assert refused.json()["available"] == ["demo", "other"]
