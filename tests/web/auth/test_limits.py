"""Limits of a key hold for all dialects, are told with number, limit and setting, and those of no other key."""

import asyncio
from dataclasses import replace
from typing import Any

import pytest
from litestar import Litestar
from litestar.testing import TestClient

from litestar_diffusion import DiffusionConfig, DiffusionPlugin, Settings
from litestar_diffusion.domain.models.adapters import AdapterChoice
from litestar_diffusion.domain.models.spec import ModelOverrides, ModelSpec
from litestar_diffusion.settings import LimitsSettings
from litestar_diffusion.testing import FakeEngine, adapter, fake_services, model
from tests.web.auth.keyed import BODY, bearer, keyed, keyed_loop, keys, until

OPENAI = {"prompt": "x", "model": "demo", "size": "64x64"}
A1111 = {"prompt": "x", "steps": 1, "width": 64, "height": 64}
WAYS = [
    ("/generate/demo", BODY),
    ("/generate/demo?dry_run=true", BODY),
    ("/generate/demo", {"inputs": "x"}),
    ("/jobs/demo", BODY),
    ("/v1/images/generations", OPENAI),
    ("/v1/images/generations", {**OPENAI, "stream": True}),
    ("/sdapi/v1/txt2img", A1111),
]


@pytest.mark.parametrize(("path", "body"), WAYS)
def test_requests_a_minute_count_in_every_dialect(path: str, body: dict[str, Any]) -> None:
    with keyed(ci={"requests_per_minute": 1}) as client:
        assert client.post(path, json=body, headers=bearer("ci")).status_code in (200, 202)
        refused = client.post(path, json=body, headers=bearer("ci"))
        assert refused.status_code == 429, refused.text
        assert 1 <= int(refused.headers["retry-after"]) <= 60
        assert "1 requests for images a minute (keys.ci.requests_per_minute)" in refused.text
        assert client.post(path, json=body, headers=bearer("other")).status_code in (200, 202)
        assert client.get("/models", headers=bearer("ci")).status_code == 200, "reading does not count"


@pytest.mark.parametrize(("path", "body"), [way for way in WAYS if "dry_run" not in way[0]])
def test_work_a_minute_counts_in_every_dialect_and_a_dry_run_is_none(path: str, body: dict[str, Any]) -> None:
    with keyed(ci={"megapixel_steps_per_minute": 0.001}) as client:
        client.post("/generate/demo?dry_run=true", json=BODY, headers=bearer("ci")).raise_for_status()
        assert client.post(path, json=body, headers=bearer("ci")).status_code in (200, 202), "from a full bucket"
        refused = client.post(path, json=body, headers=bearer("ci"))
        assert refused.status_code == 429, refused.text
        assert "keys.ci.megapixel_steps_per_minute" in refused.text


def test_work_is_that_of_the_resolved_request() -> None:
    with keyed(ci={"megapixel_steps_per_minute": 10}) as client:
        client.post("/generate/demo", json={**BODY, "n": 2, "num_inference_steps": 3}, headers=bearer("ci"))
        left = client.get("/keys/me", headers=bearer("ci")).json()["megapixel_steps"]["left"]
        assert left == pytest.approx(10 - 64 * 64 * 2 * 3 / 1e6, abs=0.01)


@pytest.mark.parametrize("limits", [{"models": ("demo",)}, {"megapixel_steps_per_minute": 10}], ids=["models", "work"])
def test_adapters_of_the_request_its_prompt_and_the_model_have_keys_with_limits_too(limits: dict[str, Any]) -> None:
    overrides = ModelOverrides(adapters=(AdapterChoice(name="soft"),))
    fields = {"prompt": "x <lora:outline:0.5>", "adapters": [{"name": "thin"}]}
    with TestClient(adapted_app(replace(model("demo"), overrides=overrides), limits)) as client:
        answer = client.post("/generate/demo", json={**BODY, **fields}, headers=bearer("ci"))
        assert answer.status_code == 200, answer.text
        assert {each["name"] for each in answer.json()["parameters"]["adapters"]} == {"soft", "thin", "outline"}


def adapted_app(spec: ModelSpec, limits: dict[str, Any]) -> Litestar:
    settings, known = Settings(keys=keys(ci=limits)), [adapter(name) for name in ("soft", "thin", "outline")]
    built = DiffusionConfig(settings=settings, build=lambda _: fake_services(spec, settings=settings, adapters=known))
    return Litestar(plugins=[DiffusionPlugin(built)])


def test_a_request_that_joins_another_uses_no_work_and_a_wrong_one_neither() -> None:
    with keyed(ci={"megapixel_steps_per_minute": 0.001}) as client:
        headers = {**bearer("ci"), "idempotency-key": "1"}
        assert client.post("/jobs/demo", json={**BODY, "width": 65}, headers=headers).status_code == 400
        sent = [client.post("/jobs/demo", json=BODY, headers=headers) for _ in range(3)]
        assert [each.status_code for each in sent] == [202] * 3
        assert len({each.json()["id"] for each in sent}) == 1


@pytest.mark.parametrize(
    ("path", "body"),
    [("/generate/large", BODY), ("/jobs/large", BODY), ("/v1/images/generations", {**OPENAI, "model": "large"})],
)
def test_a_key_uses_the_models_that_it_may_use(path: str, body: dict[str, Any]) -> None:
    with keyed(ci={"models": ("dem?",)}) as client:
        refused = client.post(path, json=body, headers=bearer("ci"))
        assert refused.status_code == 403
        assert "may not use the model 'large', only dem? (keys.ci.models)" in refused.text
        assert client.post("/generate/demo", json=BODY, headers=bearer("ci")).status_code == 200


def test_waiting_requests_of_a_key_have_a_limit_of_their_own() -> None:
    engine = FakeEngine()

    async def main() -> None:
        engine.gate.clear()
        async with keyed_loop(engine, ci={"max_waiting": 1}) as client:
            await client.post("/jobs/demo", json=BODY, headers=bearer("other"))
            await until(lambda: engine.running)
            body = {**BODY, "width": 128, "reproducible": True}
            first, second, theirs = [
                await client.post("/jobs/demo", json=body, headers=bearer(name)) for name in ("ci", "ci", "other")
            ]
            assert (first.status_code, second.status_code, theirs.status_code) == (202, 429, 202)
            assert "1 waiting request, the limit per client (keys.ci.max_waiting)" in second.json()["detail"]
            engine.gate.set()

    asyncio.run(main())


def test_a_key_sees_what_it_may_do_and_what_is_left() -> None:
    limits = {"requests_per_minute": 5, "max_waiting": 3, "models": ("demo",)}
    with keyed(ci=limits) as client:
        client.post("/generate/demo", json=BODY, headers=bearer("ci")).raise_for_status()
        view = client.get("/keys/me", headers=bearer("ci")).json()
        assert view["requests"].pop("left") == pytest.approx(4, abs=0.5)
        assert view == {
            "name": "ci",
            "scopes": ["generate"],
            "models": ["demo"],
            "expires": None,
            "max_waiting": 3,
            "requests": {"per_minute": 5},
            "megapixel_steps": None,
        }


def test_dry_runs_of_a_client_without_a_key_are_limited_and_images_are_not() -> None:
    settings = Settings(limits=LimitsSettings(dry_runs_per_minute=2))

    def build(settings: Settings) -> Any:
        return fake_services(model("demo"), settings=settings)

    with TestClient(Litestar(plugins=[DiffusionPlugin(DiffusionConfig(settings=settings, build=build))])) as client:
        answers = [client.post("/generate/demo?dry_run=true", json=BODY) for _ in range(3)]
        assert [answer.status_code for answer in answers] == [200, 200, 429]
        assert "limits.dry_runs_per_minute" in answers[-1].json()["detail"]
        assert 1 <= int(answers[-1].headers["retry-after"]) <= 30
        assert client.post("/generate/demo", json=BODY).status_code == 200
