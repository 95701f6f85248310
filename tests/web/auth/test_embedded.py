"""Inside a host: jobs belong to the user that its authentication names, or to the client that `client_of` names."""

import uuid
from types import SimpleNamespace
from typing import Any

import pytest
from litestar import Litestar, get
from litestar.connection import ASGIConnection
from litestar.exceptions import ImproperlyConfiguredException
from litestar.middleware import AbstractAuthenticationMiddleware, AuthenticationResult, DefineMiddleware
from litestar.testing import TestClient

from litestar_diffusion import Client, DiffusionConfig, DiffusionPlugin, Settings
from litestar_diffusion.testing import fake_services
from litestar_diffusion.web.http.clients import host_user
from tests.web.auth.keyed import BODY, keys

ID = uuid.UUID(int=35)


class ByHeader(AbstractAuthenticationMiddleware):
    """Authentication of a host: believes a header, as only a test may."""

    async def authenticate_request(self, connection: ASGIConnection[Any, Any, Any, Any]) -> AuthenticationResult:
        name = connection.headers.get("x-user")
        return AuthenticationResult(user=None if name is None else SimpleNamespace(id=name), auth=None)


def host(**options: Any) -> TestClient[Litestar]:
    config = DiffusionConfig(build=lambda settings: fake_services(settings=settings), **options)
    return TestClient(Litestar(plugins=[DiffusionPlugin(config)], middleware=[DefineMiddleware(ByHeader)]))


def listed(client: TestClient[Litestar], **headers: str) -> int:
    return len(client.get("/jobs", headers={name.replace("_", "-"): value for name, value in headers.items()}).json())


def test_jobs_belong_to_the_user_of_the_host() -> None:
    with host() as client:
        url = client.post("/jobs/demo", json=BODY, headers={"x-user": "ada"}).headers["location"]
        assert client.get(url, headers={"x-user": "bob"}).status_code == 404
        assert client.get(url, headers={"x-user": "ada"}).status_code == 200
        assert (listed(client, x_user="ada"), listed(client, x_user="bob"), listed(client)) == (1, 0, 0)
        assert client.get(url).status_code == 404, "without a user, where others have one"


def test_a_client_that_the_host_names_may_see_all() -> None:
    def client_of(connection: ASGIConnection[Any, Any, Any, Any]) -> Client | str | None:
        tenant = connection.headers.get("x-tenant")
        return Client(name="staff", sees_all=True) if tenant == "staff" else tenant

    with host(client_of=client_of) as client:
        for tenant in ("a", "b"):
            client.post("/jobs/demo", json=BODY, headers={"x-tenant": tenant}).raise_for_status()
        assert [listed(client, x_tenant=tenant) for tenant in ("a", "b", "c", "staff")] == [1, 1, 0, 2]
        assert listed(client) == 0


def test_headers_that_nothing_checks_hide_no_job_and_are_no_identity() -> None:
    with host() as client:
        client.post("/jobs/demo", json=BODY, headers={"authorization": "Bearer made-up"}).raise_for_status()
        assert listed(client, x_api_key="other") == 1
        sent = [
            client.post("/jobs/demo", json=BODY, headers={"idempotency-key": "1", "x-api-key": key}).json()["id"]
            for key in ("a", "b")
        ]
        assert sent[0] == sent[1], "one address is one client"


@pytest.mark.parametrize(
    ("user", "auth", "name"),
    [
        ("ada", None, "user:ada"),
        (SimpleNamespace(id=7), None, "user:7"),
        (SimpleNamespace(id=ID), None, f"user:{ID}"),
        ({"id": "x"}, None, "user:x"),
        (SimpleNamespace(name="ada"), SimpleNamespace(sub="1"), "user:1"),
        (None, None, None),
        (object(), object(), None),
        (SimpleNamespace(id=object()), None, None),
        (True, None, None),
        ("", None, None),
    ],
)
def test_a_user_is_named_by_what_is_the_same_in_each_of_its_requests(user: Any, auth: Any, name: str | None) -> None:
    connection: Any = SimpleNamespace(scope={"user": user, "auth": auth})
    assert host_user(connection) == name


def test_keys_and_a_name_of_the_hosts_own_exclude_each_other() -> None:
    config = DiffusionConfig(settings=Settings(keys=keys()), client_of=lambda _: "x")
    with pytest.raises(ImproperlyConfiguredException, match="client_of, and the settings have keys"):
        Litestar(plugins=[DiffusionPlugin(config)])


def test_keys_protect_the_routes_of_the_plugin_and_leave_those_of_the_host_alone() -> None:
    @get("/mine", sync_to_thread=False)
    def mine() -> str:
        return "mine"

    config = DiffusionConfig(
        path="/images", settings=Settings(keys=keys()), build=lambda settings: fake_services(settings=settings)
    )
    with TestClient(Litestar([mine], plugins=[DiffusionPlugin(config)])) as client:
        assert client.get("/mine").text == "mine"
        assert client.get("/images/models").status_code == 401
        operation = client.get("/schema/openapi.json").json()["paths"]["/mine"]["get"]
        assert "401" not in operation["responses"]
        assert "security" not in operation
