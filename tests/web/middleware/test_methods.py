"""HEAD where there is GET, and OPTIONS that names every method: inside an application, and standalone."""

import asyncio
from typing import Any

import pytest
from litestar import Litestar, get
from litestar.testing import AsyncTestClient

from litestar_diffusion import DiffusionConfig, DiffusionPlugin
from litestar_diffusion.testing import FakeEngine, fake_services, model
from tests.conftest import Server


@get("/mine")
async def mine() -> str:
    """A handler of the host."""
    return "mine"


def run(scenario: Any, **options: Any) -> None:
    async def main() -> None:
        services = fake_services(model("demo"), engine=FakeEngine())
        plugin = DiffusionPlugin(DiffusionConfig(path="/images", build=lambda _settings: services, **options))
        async with AsyncTestClient(Litestar([mine], plugins=[plugin])) as client:
            await scenario(client)

    asyncio.run(main())


def test_head_is_answered_as_get_without_a_body_at_every_path_of_ours() -> None:
    async def scenario(client: Any) -> None:
        job = (await client.post("/images/jobs/demo", json={"prompt": "x"})).json()["id"]
        paths = ["", "/health/live", "/health/ready", "/metrics", "/models", "/models/demo", "/models/nope", "/pool"]
        for path in [*paths, "/jobs", f"/jobs/{job}", "/jobs/nope"]:
            there, head = await client.get(f"/images{path}"), await client.head(f"/images{path}")
            assert (head.status_code, head.content) == (there.status_code, b""), path
            assert head.headers["content-type"] == there.headers["content-type"]
            assert int(head.headers["content-length"]) > 0
        assert (await client.head("/images/generate/demo")).status_code == 405
        assert (await client.head("/mine")).status_code == 405, "the host's routes are its own"

    run(scenario)


def test_head_of_a_stream_of_events_ends_at_once() -> None:
    async def scenario(client: Any) -> None:
        job = (await client.post("/images/jobs/demo", json={"prompt": "x"})).json()["id"]
        head = await asyncio.wait_for(client.head(f"/images/jobs/{job}/events"), timeout=30)
        assert head.status_code == 200
        assert head.headers["content-type"].startswith("text/event-stream")
        assert head.content == b""

    run(scenario)


@pytest.mark.parametrize(
    ("path", "allowed"),
    [
        ("/jobs/x", "DELETE, GET, HEAD, OPTIONS, POST"),
        ("/jobs", "GET, HEAD, OPTIONS"),
        ("/generate/demo", "OPTIONS, POST"),
        ("/models/demo/load", "OPTIONS, POST"),
        ("", "GET, HEAD, OPTIONS"),
    ],
)
def test_options_and_a_wrong_method_name_every_method_of_the_path(path: str, allowed: str) -> None:
    async def scenario(client: Any) -> None:
        answer = await client.options(f"/images{path}")
        assert (answer.status_code, answer.headers["allow"]) == (204, allowed)
        wrong = await client.patch(f"/images{path}")
        assert (wrong.status_code, set(wrong.headers["allow"].split(", "))) == (405, set(allowed.split(", ")))

    run(scenario)


def test_head_passes_the_guards_of_get() -> None:
    asked: list[str] = []

    def guard(connection: Any, _handler: Any) -> None:
        asked.append(connection.scope["method"])

    async def scenario(client: Any) -> None:
        await client.head("/images/health/live")
        assert asked == ["GET"]

    run(scenario, guards=[guard])


def test_the_standalone_application_answers_head_everywhere_and_leads_on_from_the_usual_addresses(
    server: Server,
) -> None:
    for path in ("/", "/health/ready", "/schema", "/schema/openapi.json", "/schema-assets/swagger/swagger-ui.css"):
        head = server.client.head(path)
        assert (head.status_code, head.content) == (200, b""), path
        assert "HEAD" in server.client.options(path).headers["allow"]
    ways = {"/healthz": "/health/live", "/readyz": "/health/ready", "/docs": "/schema"}
    for path, real in {**ways, "/openapi.json": "/schema/openapi.json"}.items():
        answer = server.client.get(path)
        assert (answer.status_code, answer.headers["location"]) == (307, real)
        assert server.client.get(path, follow_redirects=True).status_code == 200
    assert not set(ways) & set(server.client.get("/schema/openapi.json").json()["paths"])


def test_no_answer_may_be_taken_for_another_type(server: Server) -> None:
    for path in ("/", "/nothing", "/schema", "/metrics"):
        assert server.client.get(path).headers["x-content-type-options"] == "nosniff"
    refused = server.client.post("/generate/demo", headers={"origin": "https://evil.example"})
    assert refused.headers.get_list("x-content-type-options") == ["nosniff"]
