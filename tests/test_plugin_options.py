"""What a host may choose: routes, guards, middleware, tags, security, settings, a path with parameters."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from litestar import Litestar
from litestar.exceptions import ImproperlyConfiguredException, NotAuthorizedException
from litestar.openapi.config import OpenAPIConfig
from litestar.testing import TestClient
from litestar.types import ASGIApp, Receive, Scope, Send

from litestar_diffusion import ROUTE_GROUPS, DiffusionConfig, DiffusionPlugin, InvalidSettings
from litestar_diffusion.testing import fake_services, model

BODY = {"prompt": "x", "num_inference_steps": 1, "width": 64, "height": 64}


def app(openapi_config: OpenAPIConfig | None = None, **options: Any) -> Litestar:
    def build(_settings: object) -> Any:
        return fake_services(model("demo"))

    plugin = DiffusionPlugin(DiffusionConfig(**{"path": "/images", "build": build, **options}))
    return Litestar(plugins=[plugin], **({} if openapi_config is None else {"openapi_config": openapi_config}))


@contextmanager
def host(**options: Any) -> Iterator[Any]:
    with TestClient(app(**options)) as client:
        yield client


def paths(**options: Any) -> dict[str, Any]:
    return dict(app(**options).openapi_schema.paths or {})


def refuse(_connection: Any, _handler: Any) -> None:
    raise NotAuthorizedException


async def refuse_later(_connection: Any, _handler: Any) -> None:
    raise NotAuthorizedException


def test_only_the_chosen_routes_are_mounted() -> None:
    assert set(paths(routes={"generate", "health"})) == {
        "/images/generate/{model_name}",
        "/images/health/live",
        "/images/health/ready",
    }
    with host(routes={"generate"}) as client:
        assert client.post("/images/generate/demo", json=BODY).status_code == 200
        assert client.post("/images/models/demo/load").status_code == 404


def test_browsers_get_facts_where_the_page_is_not_mounted() -> None:
    with host(routes={"generate", "service"}) as client:
        assert client.get("/images", headers={"accept": "text/html"}).headers["content-type"] == "application/json"


def test_models_can_be_listed_but_not_moved() -> None:
    shown = paths(routes=ROUTE_GROUPS - {"residency"})
    assert "/images/models/{name}" in shown
    assert not [path for path in shown if path.endswith(("/load", "/unload", "/pin", "/unpin"))]


def test_every_route_is_in_a_group() -> None:
    assert paths(routes=()) == {}


def test_without_routes_for_jobs_the_answer_waits() -> None:
    with host(routes={"generate"}) as client:
        answer = client.post("/images/generate/demo", json=BODY, headers={"prefer": "respond-async"})
    assert (answer.status_code, "location" in answer.headers) == (200, False)


@pytest.mark.parametrize("option", ["routes", "unguarded"])
def test_routes_that_do_not_exist_are_refused_at_the_start(option: str) -> None:
    with pytest.raises(ImproperlyConfiguredException, match="do not exist: heatlh"):
        app(**{option: {"heatlh"}})


@pytest.mark.parametrize("guard", [refuse, refuse_later])
def test_guards_can_leave_out_probes_and_metrics(guard: Callable[..., Any]) -> None:
    probes = ["/images/health/live", "/images/metrics"]
    with host(guards=[guard]) as client:
        assert {client.get(probe).status_code for probe in probes} == {401}
    with host(guards=[guard], unguarded={"health", "metrics"}) as client:
        assert {client.get(probe).status_code for probe in probes} == {200}
        assert client.get("/images/models").status_code == 401


def test_middleware_of_the_host_wraps_our_routes_alone() -> None:
    seen: list[str] = []

    def noted(app: ASGIApp) -> ASGIApp:
        async def wrapped(scope: Scope, receive: Receive, send: Send) -> None:
            seen.append(scope["path"])
            await app(scope, receive, send)

        return wrapped

    with host(middleware=[noted]) as client:
        client.get("/images/health/live")
        client.get("/schema")
    assert seen == ["/images/health/live"]


def test_middleware_of_the_host_may_leave_out_what_asgi_lets_it() -> None:
    def teapot(app: ASGIApp) -> Any:
        async def answer(_scope: Scope, _receive: Receive, send: Any) -> None:
            await send({"type": "http.response.start", "status": 418})
            await send({"type": "http.response.body"})

        return answer

    def large(app: ASGIApp) -> Any:
        async def answer(_scope: Scope, _receive: Receive, send: Any) -> None:
            await send({"type": "http.response.start", "status": 200})
            await send({"type": "http.response.body", "body": bytes(100_000)})

        return answer

    with host(middleware=[teapot]) as client:
        assert client.get("/images/health/live").status_code == 418
        assert client.head("/images/health/live").status_code == 418
    with host(middleware=[large]) as client:
        assert client.get("/images/health/live").content == bytes(100_000)


def test_the_document_shows_tags_and_security_of_the_host() -> None:
    operation = paths(tags=["pictures"], security=[{"BearerToken": []}])["/images/models"].get
    assert operation.tags == ["models", "pictures"]
    assert operation.security == [{"BearerToken": []}]


@pytest.mark.parametrize("tenant", ["é 1", "日", "a?b#c"])
@pytest.mark.parametrize("path", ["/t/{tenant:str}", "/t/{tenant:int}/images", "/{tenant:str}"])
def test_links_are_filled_if_the_path_has_parameters(path: str, tenant: str) -> None:
    mounted = path.replace("{tenant:str}", quote(tenant)).replace("{tenant:int}", "7")
    with host(path=path) as client:
        sent = client.post(f"{mounted}/jobs/demo", json=BODY)
        assert sent.headers["location"] == sent.json()["url"]
        assert client.get(sent.headers["location"]).json()["id"] == sent.json()["id"]
        assert client.get(sent.json()["url"]).json()["url"] == sent.json()["url"]
        client.post(f"{mounted}/jobs/demo", json=BODY).raise_for_status()
        first = client.get(f"{mounted}/jobs", params={"limit": 1})
        assert len(client.get(first.links["next"]["url"]).json()) == 1
        asked = {"prompt": "x", "model": "demo", "size": "64x64", "response_format": "url"}
        made = client.post(f"{mounted}/v1/images/generations", json=asked).json()
        assert client.get(made["data"][0]["url"]).status_code == 200


def test_the_facts_name_the_documentation_of_the_host() -> None:
    with host() as client:
        assert client.get("/images").json()["documentation"] == "/schema"
    config = OpenAPIConfig(title="host", version="1", path="/documents")
    with host(openapi_config=config) as client:
        assert client.get("/images").json()["documentation"] == "/documents"


def test_a_config_reads_settings_from_a_file_and_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "mine.toml"
    file.write_text("[limits]\nmax_n = 3\nmax_steps = 7\n")
    monkeypatch.setenv("LITESTAR_DIFFUSION__LIMITS__MAX_STEPS", "9")
    config = DiffusionConfig.from_file(file, path="/images")
    assert (config.settings.limits.max_n, config.settings.limits.max_steps, config.path) == (3, 9, "/images")
    file.write_text("[limits]\nmax_m = 3\n")
    with pytest.raises(InvalidSettings, match="max_m"):
        DiffusionConfig.from_file(str(file))
