"""The plugin inside another application."""

import asyncio
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest
from litestar import Litestar, get
from litestar.di import NamedDependency, Provide
from litestar.exceptions import ImproperlyConfiguredException
from litestar.testing import AsyncTestClient

from litestar_diffusion import (
    ROUTE_GROUPS,
    DiffusionConfig,
    DiffusionPlugin,
    GenerationParameters,
    ImageGenerator,
    ModelPool,
    OriginRules,
)
from litestar_diffusion.testing import FakeEngine, fake_services, model
from tests.conftest import Server, free_port, stop
from tests.pictures import seen_in

ROOT = Path(__file__).parents[1]


def test_the_example_runs(tmp_path: Path) -> None:
    port, log = free_port(), tmp_path / "log"
    with log.open("wb") as sink:
        process = subprocess.Popen(
            [sys.executable, "-m", "uvicorn", "--app-dir", str(ROOT), "examples.embedded:app", "--port", str(port)],
            cwd=tmp_path,
            stdout=sink,
            stderr=subprocess.STDOUT,
            env={**os.environ, "LITESTAR_DIFFUSION__MODELS__HUB_ENABLED": "false"},
        )
    server = Server(process=process, url=f"http://127.0.0.1:{port}", log=log, begun=0.0)
    try:
        server.wait_until("/images/health/ready")
        card = server.client.get("/cards/red/square")
        assert seen_in(card.content).background == "white"
        assert int(card.headers["x-pool-bytes"]) > 0
        assert server.client.post("/images/generate/demo", json={"prompt": "a blue star"}).status_code == 200
    finally:
        stop(server)


@get("/mine")
async def mine(
    image_generator: NamedDependency[ImageGenerator], model_pool: NamedDependency[ModelPool]
) -> dict[str, Any]:
    """A handler of the host."""
    generated = await image_generator.generate("a", GenerationParameters(prompt="x", seed=1))
    return {"bytes": len(generated.images[0].data), "leases": model_pool.stats().leases}


def run(services: Any, scenario: Any, **options: Any) -> None:
    async def main() -> None:
        plugin = DiffusionPlugin(DiffusionConfig(path="/images", build=lambda _settings: services, **options))
        async with AsyncTestClient(Litestar([mine], plugins=[plugin])) as client:
            await scenario(client)

    asyncio.run(main())


def services() -> Any:
    return fake_services(model("a"), model("demo"), engine=FakeEngine())


def test_a_handler_of_the_host_generates_and_sees_the_pool() -> None:
    async def scenario(client: Any) -> None:
        answer = await client.get("/mine")
        assert answer.json()["bytes"] > 0
        assert answer.json()["leases"] == 0

    run(services(), scenario)


def test_routes_stand_below_the_path_and_errors_of_the_host_stay_its_own() -> None:
    async def scenario(client: Any) -> None:
        assert (await client.get("/images/models/a")).json()["name"] == "a"
        ours = await client.get("/images/models/nope")
        assert ours.json()["code"] == "unknown_model"
        theirs: httpx.Response = await client.get("/nope")
        assert theirs.status_code == 404
        assert "code" not in theirs.json()

    run(services(), scenario)


@pytest.mark.parametrize("path", ["/", "/images", "/jobs", "/generate", "/my/jobs-lab/generate"])
@pytest.mark.parametrize("root_path", ["", "/behind/a/proxy"])
@pytest.mark.parametrize("name", ["a", "jobs", "generate"])
def test_a_job_says_where_it_is_wherever_the_routes_are_mounted(path: str, root_path: str, name: str) -> None:
    async def main() -> None:
        fakes = fake_services(model(name))
        plugin = DiffusionPlugin(DiffusionConfig(path=path, build=lambda _settings: fakes))
        async with AsyncTestClient(Litestar(plugins=[plugin]), root_path=root_path) as client:
            below, body = path.rstrip("/"), {"prompt": "x"}
            sent = await client.post(f"{below}/generate/{name}", json=body, headers={"prefer": "respond-async"})
            also = await client.post(f"{below}/jobs/{name}", json=body)
            for answer in (sent, also):
                job = answer.json()
                assert answer.headers["location"] == job["url"] == f"{root_path}{below}/jobs/{job['id']}"
                shown = await client.get(f"{below}/jobs/{job['id']}")
                assert shown.json()["url"] == job["url"]
                listed = await client.get(f"{below}/jobs")
                assert job["url"] in [other["url"] for other in listed.json()]

    asyncio.run(main())


def test_the_host_application_decides_which_web_pages_may_use_the_routes() -> None:
    foreign = {"origin": "https://evil.example"}

    async def left_alone(client: Any) -> None:
        assert (await client.post("/images/models/a/load", headers=foreign)).status_code == 200

    async def checked(client: Any) -> None:
        refused = await client.post("/images/models/a/load", headers=foreign)
        assert (refused.status_code, refused.json()["code"]) == (403, "cross_origin")
        assert (await client.post("/images/models/a/load")).status_code == 200
        assert (await client.get("/mine", headers=foreign)).status_code == 200, "the host's own routes are its own"

    run(services(), left_alone)
    run(services(), checked, origins=OriginRules(allowed_hosts=["testserver.local"]))


def test_metrics_count_the_routes_of_the_plugin_alone_and_can_be_left_out() -> None:
    async def counted(client: Any) -> None:
        await client.get("/mine")
        await client.get("/images/models/nope")
        text = (await client.get("/images/metrics")).text
        assert 'litestar_diffusion_requests_total{method="GET",route="/images/models/{name}",status="404"} 1.0' in text
        assert 'litestar_diffusion_errors_total{code="unknown_model"} 1.0' in text
        assert 'litestar_diffusion_images_total{model="a"} 1.0' in text, "made by a handler of the host"
        assert "/mine" not in text

    async def left_out(client: Any) -> None:
        assert (await client.get("/images/metrics")).status_code == 404

    run(services(), counted)
    run(services(), left_out, routes=ROUTE_GROUPS - {"metrics"})


def test_a_dependency_key_that_the_host_uses_already_is_refused() -> None:
    plugin = DiffusionPlugin(DiffusionConfig(build=lambda _settings: services()))
    taken = {"model_pool": Provide(lambda: 1, sync_to_thread=False)}
    with pytest.raises(ImproperlyConfiguredException, match="model_pool"):
        Litestar(plugins=[plugin], dependencies=taken)


def test_the_document_and_every_decoder_can_be_built() -> None:
    plugin = DiffusionPlugin(DiffusionConfig(build=lambda _settings: services()))
    paths = Litestar(plugins=[plugin]).openapi_schema.paths
    assert paths is not None
    assert {"/generate/{model_name}", "/models", "/models/{name}/unload", "/health/ready"} <= set(paths)
    shapes = [re.sub(r"{[^}]*}", "{}", path) for path in paths]
    assert sorted(shapes) == sorted(set(shapes)), "OpenAPI knows no two paths that differ in a parameter's name alone"
