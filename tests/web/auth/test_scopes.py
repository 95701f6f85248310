"""Every route of every dialect says which scopes it needs, and no key does more than its scopes say."""

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
from litestar import Litestar
from litestar.handlers import HTTPRouteHandler
from litestar.routes import HTTPRoute
from litestar.testing import TestClient

from litestar_diffusion.web.auth.requirements import is_declared, required_by
from litestar_diffusion.web.http.clients import is_identified
from tests.test_plugin_options import app
from tests.web.auth.keyed import BODY, TEXTS, bearer, keyed, keyed_app

ADMIN = {
    "/adapters/{name}/unload",
    "/models/{name}/load",
    "/models/{name}/unload",
    "/models/{name}/pin",
    "/models/{name}/unpin",
    "/sdapi/v1/refresh-checkpoints",
    "/sdapi/v1/refresh-embeddings",
    "/sdapi/v1/refresh-loras",
    "/sdapi/v1/refresh-vae",
    "/sdapi/v1/reload-checkpoint",
    "/sdapi/v1/unload-checkpoint",
}
READ = {"/metrics", "/pool", "/sdapi/v1/memory"}
PUBLIC = {"/health/live", "/health/ready", "/internal/ping", "/page/{version}/{file}"}


def handlers(app: Litestar) -> Iterator[tuple[str, HTTPRouteHandler]]:
    for route in app.routes:
        if isinstance(route, HTTPRoute):
            for handler in route.route_handlers:
                if is_identified(handler) and not handler.http_methods <= {"HEAD", "OPTIONS"}:
                    yield route.path_format, handler


@pytest.fixture(scope="module")
def client() -> Iterator[TestClient[Litestar]]:
    with keyed() as client:
        yield client


def test_every_route_of_every_dialect_declares_what_it_needs() -> None:
    found = dict(handlers(keyed_app()))
    assert len(found) > 40
    assert [path for path, handler in found.items() if not is_declared(handler.opt)] == []
    assert {path for path, handler in found.items() if not required_by(handler.opt)} == PUBLIC
    assert {path for path, handler in found.items() if required_by(handler.opt) == {"admin"}} == ADMIN
    assert {path for path, handler in found.items() if required_by(handler.opt) == {"read"}} == READ


def test_no_route_but_the_public_ones_answers_without_a_key(client: TestClient[Litestar]) -> None:
    for path, handler in handlers(client.app):
        for method in handler.http_methods:
            answer = client.request(str(method), path.format_map(Filled()))
            assert (answer.status_code == 401) == (path not in PUBLIC), (method, path, answer.text)
            if path not in PUBLIC:
                assert answer.headers["www-authenticate"].startswith("Bearer realm=")


def test_no_key_does_more_than_its_scopes_say(client: TestClient[Litestar]) -> None:
    for path, handler in handlers(client.app):
        required = required_by(handler.opt)
        for name, scope in (("ci", "generate"), ("prom", "read")):
            if not required or scope in required:
                continue
            for method in handler.http_methods:
                answer = client.request(str(method), path.format_map(Filled()), headers=bearer(name))
                assert answer.status_code == 403, (method, path, answer.text)
                assert f'"{name}"' in answer.text or f"'{name}'" in answer.text, answer.text


class Filled(dict[str, Any]):
    def __missing__(self, key: str) -> str:
        return "0"  # also for numbers


def test_head_needs_what_get_needs_and_options_nothing(client: TestClient[Litestar]) -> None:
    assert client.head("/models").status_code == 401
    assert client.head("/models", headers=bearer("prom")).status_code == 200
    assert client.head("/health/live").status_code == 200
    assert client.options("/models").status_code == 204


def test_a_wrong_key_does_not_close_public_routes(client: TestClient[Litestar]) -> None:
    assert client.get("/health/live", headers={"x-api-key": "wrong"}).status_code == 200


def test_the_refusal_names_the_key_its_scopes_and_the_missing_one(client: TestClient[Litestar]) -> None:
    answer = client.post("/models/demo/unload", headers=bearer("ci"))
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["code"] == "forbidden"
    assert answer.json()["detail"] == (
        "This needs a key with the scope admin; the key 'ci' has generate (keys.ci.scopes)."
    )
    assert 'error="insufficient_scope", scope="admin"' in answer.headers["www-authenticate"]
    assert client.post("/models/demo/unload", headers=bearer("root")).status_code == 200


@pytest.mark.parametrize(
    ("path", "shape"),
    [
        ("/v1/models", lambda body: body["error"]["code"] == "invalid_api_key"),
        ("/sdapi/v1/sd-models", lambda body: body["error"] == "unauthorized"),
        ("/models", lambda body: body["code"] == "unauthorized" and body["status"] == 401),
    ],
)
def test_dialects_refuse_in_their_own_shape(client: TestClient[Litestar], path: str, shape: Any) -> None:
    answer = client.get(path)
    assert answer.status_code == 401
    assert shape(answer.json()), answer.text
    assert answer.headers["www-authenticate"]


def test_a_body_is_not_read_before_its_sender_is_known(client: TestClient[Litestar]) -> None:
    assert client.post("/generate/demo", content=b"{ no json").status_code == 401
    assert client.post("/generate/demo", content=b"{ no json", headers=bearer("ci")).status_code == 400
    assert client.post("/generate/demo", json=BODY, headers=bearer("ci")).status_code == 200


@pytest.mark.parametrize("content_type", ["multipart/form-data; boundary=b", "application/json"])
def test_no_byte_of_a_body_is_asked_for_before_its_sender_is_known(content_type: str) -> None:
    """Uploads, too: forms are read by a middleware, but only when the handler asks for them."""
    asked: list[str] = []

    async def status(app: Litestar, **headers: str) -> int:
        statuses: list[int] = []

        async def receive() -> Any:
            asked.append(content_type)
            return {"type": "http.disconnect"}

        async def send(message: Any) -> None:
            statuses.append(message.get("status"))

        scope: Any = {
            "type": "http",
            "method": "POST",
            "path": "/generate/demo",
            "raw_path": b"/generate/demo",
            "root_path": "",
            "query_string": b"",
            "headers": [(name.encode(), value.encode()) for name, value in headers.items()],
            "client": ("127.0.0.1", 1),
            "scheme": "http",
            "server": ("localhost", 80),
            "http_version": "1.1",
            "state": {},
        }
        await app(scope, receive, send)
        return statuses[0]

    async def main() -> None:
        app = keyed_app()
        async with app.lifespan():
            sent = {"content-type": content_type, "content-length": "1000"}
            assert await status(app, **sent) == 401
            assert await status(app, **sent, **bearer("prom")) == 403
            assert not asked
            await status(app, **sent, **bearer("ci"))
            assert asked

    asyncio.run(main())


def test_the_document_says_which_operations_need_a_key_and_shows_the_refusals(client: TestClient[Litestar]) -> None:
    document = client.get("/schema/openapi.json").json()
    assert set(document["components"]["securitySchemes"]) == {"BearerKey", "HeaderKey", "BasicKey"}
    for path, item in document["paths"].items():
        for operation in item.values():
            assert ("security" in operation) == (path not in PUBLIC), path
            assert {"401", "403"} <= set(operation["responses"]) or path in PUBLIC, path
    generate = document["paths"]["/generate/{model_name}"]["post"]
    assert generate["security"] == [{"BearerKey": []}, {"HeaderKey": []}, {"BasicKey": []}]
    assert set(generate["responses"]["403"]["content"]["application/problem+json"]["examples"])


def test_without_keys_nothing_is_said_of_them() -> None:
    document = app().openapi_schema.to_schema()
    assert "securitySchemes" not in document["components"]
    assert "/images/keys/me" not in document["paths"]
    assert not [
        path for path, item in document["paths"].items() for each in item.values() if "401" in each["responses"]
    ]


def test_keys_are_in_no_answer(client: TestClient[Litestar]) -> None:
    for path in ("/", "/pool", "/metrics", "/models", "/keys/me", "/schema/openapi.json"):
        answer = client.get(path, headers=bearer("root"))
        assert answer.status_code == 200, path
        assert not any(text in answer.text for text in TEXTS.values())
        assert "sha256:" not in answer.text
