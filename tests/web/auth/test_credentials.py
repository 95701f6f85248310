"""A key comes as a bearer token, as X-API-Key or as the password of HTTP Basic, and only one of them."""

import base64
from typing import Any

import pytest
from litestar import Litestar, Request, get
from litestar.testing import TestClient

from litestar_diffusion import ConflictingKeys, DiffusionConfig, DiffusionPlugin, Settings
from litestar_diffusion.testing import fake_services
from litestar_diffusion.web.auth.credentials import credential_in
from litestar_diffusion.web.auth.requirements import requires
from litestar_diffusion.web.dialect import Dialect
from tests.web.auth.keyed import BODY, TEXTS, bearer, keyed, keys

KEY = TEXTS["ci"]


def basic(user: str, password: str) -> dict[str, str]:
    return {"authorization": "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()}


@pytest.mark.parametrize(
    "headers",
    [
        {"authorization": f"Bearer {KEY}"},
        {"authorization": f"bearer  {KEY} "},
        {"x-api-key": KEY},
        basic("ci", KEY),
        basic("anything at all", KEY),
        basic("", KEY),
        basic(KEY, ""),
        {**basic("ci", KEY), "x-api-key": KEY},
    ],
)
def test_each_form_identifies_the_key(headers: dict[str, str]) -> None:
    with keyed() as client:
        answer = client.get("/keys/me", headers=headers)
        assert (answer.status_code, answer.json().get("name")) == (200, "ci"), answer.text


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"authorization": ""},
        {"authorization": "Bearer"},
        {"authorization": "Bearer ldk_made-up"},
        {"authorization": KEY},
        {"authorization": f"Digest {KEY}"},
        {"authorization": "Basic not-base64!"},
        {"authorization": "Basic"},
        {"authorization": f"Basic {base64.b64encode(b'no colon, no key').decode()}"},
        {"authorization": "Basic " + base64.b64encode(b"ci:wrong").decode()},
        {"authorization": "Basic " + base64.b64encode(b"\xff\xfe:\xff").decode()},
        {"x-api-key": ""},
        {"x-api-key": KEY[:-1]},
        {"x-api-key": f"{KEY} {KEY}"},
        {"cookie": f"key={KEY}"},
    ],
)
def test_everything_else_is_no_key(headers: dict[str, str]) -> None:
    with keyed() as client:
        answer = client.get("/keys/me", headers=headers)
        assert (answer.status_code, answer.json()["code"]) == (401, "unauthorized"), answer.text
        assert client.get("/keys/me", params={"api_key": KEY}).status_code == 401


@pytest.mark.parametrize(
    "headers",
    [
        [(b"authorization", f"Bearer {KEY}".encode()), (b"x-api-key", TEXTS["root"].encode())],
        [(b"authorization", f"Bearer {KEY}".encode()), (b"authorization", b"Bearer other")],
        [(b"x-api-key", KEY.encode()), (b"x-api-key", b"made-up")],
    ],
)
def test_different_keys_in_one_request_are_refused(headers: list[tuple[bytes, bytes]]) -> None:
    with pytest.raises(ConflictingKeys, match="carry different keys"):
        credential_in(headers)


def test_the_refusal_of_different_keys_is_400() -> None:
    with keyed() as client:
        answer = client.get("/keys/me", headers={**bearer("ci"), "x-api-key": "made-up"})
        assert (answer.status_code, answer.json()["code"]) == (400, "conflicting_keys")


def test_handlers_see_the_name_and_the_scopes_as_user_and_auth() -> None:
    @get("/who", opt=requires("read"), sync_to_thread=False)
    def who(request: Request[Any, Any, Any]) -> dict[str, Any]:
        return {"name": request.user.name, "scopes": request.user.scopes, "expires": request.auth.expires}

    dialect = Dialect(name="who", route_handlers=(who,), exception_handlers=dict)
    config = DiffusionConfig(
        settings=Settings(keys=keys()), dialects=[dialect], build=lambda settings: fake_services(settings=settings)
    )
    with TestClient(Litestar(plugins=[DiffusionPlugin(config)])) as client:
        assert client.get("/who", headers=bearer("prom")).json() == {
            "name": "prom",
            "scopes": ["read"],
            "expires": None,
        }
        assert client.get("/who", headers=bearer("ci")).status_code == 403


def test_events_need_the_key_too_and_are_read_with_it() -> None:
    with keyed() as client:
        url = client.post("/jobs/demo", json=BODY, headers=bearer("ci")).headers["location"]
        assert client.get(f"{url}/events").status_code == 401
        with client.stream("GET", f"{url}/events", headers={"x-api-key": KEY}) as events:
            assert events.status_code == 200
            assert "event: done" in events.read().decode()
