"""Which body is whose, what an answer is, and what the OpenAPI document says, without a server process."""

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
from litestar import Litestar, Request, post
from litestar.testing import TestClient

from litestar_diffusion import DiffusionConfig, DiffusionPlugin, Settings
from litestar_diffusion.domain.errors import QueueFull
from litestar_diffusion.settings import DialectsSettings, LimitsSettings
from litestar_diffusion.testing import fake_services, model
from litestar_diffusion.web.huggingface.errors import exception_handlers, note_inference
from tests.web.api.test_pictures import base64_of, drawing


def plugin(**config: Any) -> DiffusionPlugin:
    def build(settings: Settings) -> Any:
        return fake_services(model("demo"), settings=settings)

    return DiffusionPlugin(DiffusionConfig(build=build, **config))


@pytest.fixture(scope="module")
def client() -> Iterator[TestClient[Litestar]]:
    with TestClient(Litestar(plugins=[plugin()])) as running:
        yield running


@pytest.mark.parametrize(
    ("accept", "media_type"),
    [
        ("*/*", "image/png"),
        ("image/jpeg", "image/jpeg"),
        ("image/webp", "image/webp"),
        ("application/json", "application/json"),
    ],
)
def test_the_answer_is_the_image_unless_json_is_asked_for(
    client: TestClient[Litestar], accept: str, media_type: str
) -> None:
    answer = client.post("/generate/demo", json={"inputs": "x"}, headers={"accept": accept})
    assert (answer.status_code, answer.headers["content-type"].split(";")[0]) == (200, media_type)


def test_null_is_as_good_as_absent(client: TestClient[Litestar]) -> None:
    body = {"inputs": "x", "parameters": {"n": None, "seed": None, "scheduler": None, "output_format": None}}
    assert client.post("/generate/demo", json=body).status_code == 200
    assert client.post("/generate/demo", json={"inputs": "x", "parameters": None, "options": None}).status_code == 200


def test_headers_and_the_query_of_the_native_route_act(client: TestClient[Litestar]) -> None:
    body = {"inputs": "x", "parameters": {"seed": 4}, "options": {"wait_for_model": True}}
    first, again = (
        client.post("/generate/demo", json=body, headers={"idempotency-key": "k"}).headers["x-seed"] for _ in range(2)
    )
    assert first == again == "4"
    assert client.post("/generate/demo", json=body, headers={"prefer": "respond-async"}).status_code == 202
    assert client.post("/generate/demo?dry_run=true", json=body).json()["parameters"]["seed"] == 4


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ({"inputs": 3}, "inputs: expected str"),
        ({"inputs": "x", "parameters": 3}, "parameters: "),
        ({"inputs": "x", "parameters": {"width": "wide", "n": 0}}, "parameters.width: "),
        ({"inputs": "x", "parameters": {"n": 2}}, "parameters.n: must be 1"),
        (
            {"inputs": base64_of(drawing()), "parameters": {"target_size": {"width": 65, "height": 64}}},
            "parameters.target_size.width: ",
        ),
        ({"inputs": "x", "paramters": {}}, "paramters: is not known here. Did you mean 'parameters'?"),
    ],
)
def test_every_wrong_field_is_named_as_the_client_named_it(client: TestClient[Litestar], body: Any, told: str) -> None:
    refused = client.post("/generate/demo", json=body)
    assert refused.status_code == 400
    assert refused.headers["content-type"].startswith("application/problem+json")
    assert told in refused.json()["error"]
    assert refused.json()["code"] == "invalid_request"
    assert "errors" not in refused.json(), "the client would show its messages again, without the fields"


@pytest.mark.parametrize("body", [b"{", b"[]", b'"inputs"', b'{"promt": "x"}', b'{"prompt": "x", "inputs": "x"}'])
def test_a_body_that_is_not_theirs_gets_a_problem_document(client: TestClient[Litestar], body: bytes) -> None:
    refused = client.post("/generate/demo", content=body, headers={"content-type": "application/json"})
    assert refused.status_code == 400
    assert refused.headers["content-type"].startswith("application/problem+json")
    assert refused.json()["errors"]
    assert "error" not in refused.json()


def test_a_refusal_that_passes_keeps_its_header() -> None:
    """Clients wait as long as `Retry-After` says."""
    error = QueueFull(3, retry_after_s=7)

    @post("/", exception_handlers=exception_handlers(), sync_to_thread=False)
    def refuse(request: Request[Any, Any, Any]) -> None:
        note_inference(request.scope)
        raise error

    with TestClient(Litestar([refuse])) as client:
        refused = client.post("/")
    assert (refused.status_code, refused.headers["retry-after"]) == (503, "7")
    assert (refused.json()["error"], refused.json()["code"]) == (error.message, "queue_full")


def test_jobs_take_native_bodies_only(client: TestClient[Litestar]) -> None:
    assert client.post("/jobs/demo", json={"inputs": "x"}).json()["code"] == "invalid_request"


@pytest.mark.parametrize("settings", [Settings(), Settings(dialects=DialectsSettings(huggingface=False))])
def test_the_document_shows_the_body_if_the_dialect_is_on(settings: Settings) -> None:
    document = Litestar(plugins=[plugin(settings=settings)]).openapi_schema.to_schema()
    operation = document["paths"]["/generate/{model_name}"]["post"]
    body = operation["requestBody"]["content"]["application/json"]
    assert ("oneOf" in body["schema"]) == ("huggingface" in body["examples"]) == settings.dialects.huggingface


def test_the_document_states_the_configured_limits_of_its_parameters() -> None:
    settings = Settings(limits=LimitsSettings(max_n=3))
    schemas = Litestar(plugins=[plugin(settings=settings)]).openapi_schema.to_schema()["components"]["schemas"]
    ours, native = schemas["InferenceParameters"], schemas["GenerationParameters"]
    assert ours["properties"]["n"]["maximum"] == 3
    assert ours["additionalProperties"] is False
    assert native["properties"].keys() - {"prompt"} == ours["properties"].keys() - {"scheduler"}


def test_given_dialects_win_over_the_settings() -> None:
    from litestar_diffusion.web.api.dialect import NATIVE

    async def main() -> None:
        with TestClient(Litestar(plugins=[plugin(dialects=(NATIVE,))])) as client:
            assert client.post("/generate/demo", json={"inputs": "x"}).json()["code"] == "invalid_request"

    asyncio.run(main())


def test_a_body_may_begin_with_a_byte_order_mark(client: TestClient[Litestar]) -> None:
    headers = {"content-type": "application/json"}
    assert client.post("/generate/demo", content=b'\xef\xbb\xbf{"inputs": "x"}', headers=headers).status_code == 200
