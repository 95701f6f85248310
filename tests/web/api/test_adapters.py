"""Adapters and VAEs over the wire: lists, requests, receipts, jobs, dry runs, and each dialect."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

import httpx
import msgspec
from litestar import Litestar

from litestar_diffusion import DiffusionConfig, DiffusionPlugin
from litestar_diffusion.domain.models.spec import ModelTraits
from litestar_diffusion.testing import FakeEngine, adapter, fake_services, model, vae

SMALL = {"prompt": "a circle", "width": 64, "height": 64, "num_inference_steps": 2, "seed": 1}
INK = {"name": "ink", "weight": 0.8}
SDXL = ModelTraits(family="sdxl", size_px=64)

Talk = Callable[[httpx.AsyncClient, FakeEngine], Awaitable[None]]


def talk(with_server: Talk) -> None:
    """Run a conversation with a server of one model, three adapters and a VAE."""
    engine = FakeEngine()
    adapters = [adapter("ink"), adapter("Outline Style"), replace(adapter("broken"), unusable="it is for Flux")]

    def build(settings: Any) -> Any:
        demo = model("demo", traits=SDXL)
        return fake_services(demo, settings=settings, engine=engine, adapters=adapters, vaes=[vae("anime")])

    async def main() -> None:
        app = Litestar(plugins=[DiffusionPlugin(DiffusionConfig(build=build))])
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        async with app.lifespan(), httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
            await with_server(client, engine)

    asyncio.run(main())


def uses(engine: FakeEngine) -> list[tuple[str, float, float]]:
    """Adapters of the last request."""
    return [(use.name, use.weight, use.text_weight) for use in engine.requests[-1].assets.adapters]


def test_adapters_are_listed_and_shown_with_what_they_are_and_where() -> None:
    async def conversation(client: httpx.AsyncClient, engine: FakeEngine) -> None:
        listed = {one["name"]: one for one in (await client.get("/adapters")).json()}
        assert list(listed) == ["Outline Style", "broken", "ink"]
        assert (listed["broken"]["usable"], listed["broken"]["unusable"]) == (False, "it is for Flux")
        assert (listed["ink"]["facts"]["family"], listed["ink"]["facts"]["ranks"]) == ("sdxl", [4])
        assert listed["ink"]["residency"] == "cold"
        await client.post("/generate/demo", json={**SMALL, "adapters": [INK]})
        shown = (await client.get("/adapters/INK")).json()
        assert (shown["residency"], shown["memory_nbytes"], shown["in_use"]) == ("device", 10, 0)
        unknown = await client.get("/adapters/inkk")
        assert (unknown.status_code, unknown.json()["code"]) == (404, "unknown_adapter")
        facts = (await client.get("/")).json()
        assert (facts["adapters"], facts["vaes"]) == (["Outline Style", "ink"], ["anime"])
        assert [one["name"] for one in (await client.get("/vaes")).json()] == ["anime"]
        assert (await client.get("/vaes/Anime")).json()["family"] == "sdxl"

    talk(conversation)


def test_the_pool_shows_adapters_and_they_can_be_unloaded() -> None:
    async def conversation(client: httpx.AsyncClient, engine: FakeEngine) -> None:
        await client.post("/generate/demo", json={**SMALL, "adapters": [INK], "vae": "anime"})
        pool = (await client.get("/pool")).json()
        assert [[one["name"] for one in pool[kind]] for kind in ("models", "adapters", "vaes")] == [
            ["demo"],
            ["ink"],
            ["anime"],
        ]
        owners = [(part["models"], part["adapters"], part["vaes"]) for part in pool["components"]]
        assert owners == [(["demo"], [], []), ([], ["ink"], []), ([], [], ["anime"])]
        assert {"what": "adapter_loaded", "adapter": "ink"} in [
            {"what": one["what"], "adapter": one["facts"].get("adapter")} for one in pool["decisions"]
        ]
        gone = (await client.post("/adapters/ink/unload")).json()
        assert gone == {"name": "ink", "residency": "cold", "was": "device"}
        assert len((await client.get("/pool")).json()["components"]) == 2

    talk(conversation)


def test_a_request_names_adapters_in_its_field_and_its_prompt_and_the_answer_says_which() -> None:
    async def conversation(client: httpx.AsyncClient, engine: FakeEngine) -> None:
        body = {**SMALL, "prompt": "a circle <lora:outline style:0.2:0.4>", "adapters": [INK], "vae": "anime"}
        made = (await client.post("/generate/demo", json=body)).json()
        assert uses(engine) == [("ink", 0.8, 0.8), ("Outline Style", 0.4, 0.2)]
        assert made["parameters"]["prompt"] == "a circle"
        assert made["parameters"]["adapters"] == [
            {"name": "ink", "weight": 0.8, "version": "1"},
            {"name": "Outline Style", "weight": 0.4, "text_weight": 0.2, "version": "1"},
        ]
        assert (made["parameters"]["vae"], made["warnings"]) == ("anime", [])
        again = (await client.post("/generate/demo", json=made["parameters"])).json()
        assert again["parameters"] == made["parameters"]
        assert not any("dapter" in warning for warning in again["warnings"])
        raw = await client.post("/generate/demo", json={**SMALL, "adapters": [INK]}, headers={"accept": "image/png"})
        assert raw.headers["x-adapters"] == "ink:0.8"

    talk(conversation)


def test_wrong_ones_are_refused_before_anything_is_loaded() -> None:
    async def conversation(client: httpx.AsyncClient, engine: FakeEngine) -> None:
        for body, status, code in (
            ({"adapters": [{"name": "inkk"}]}, 404, "unknown_adapter"),
            ({"prompt": "<lora:nope:1>"}, 404, "unknown_adapter"),
            ({"vae": "nope"}, 404, "unknown_vae"),
            ({"adapters": [{"name": "broken"}]}, 422, "unusable_adapter"),
            ({"adapters": [{"name": "ink", "weight": 11}]}, 400, "invalid_request"),
            ({"adapters": [{"weight": 1}]}, 400, "invalid_request"),
            ({"adapters": [INK] * 65}, 400, "invalid_request"),
            ({"prompt": "<lora:ink:x>"}, 400, "invalid_request"),
        ):
            for path in ("/generate/demo", "/generate/demo?dry_run=true", "/jobs/demo"):
                answer = await client.post(path, json={**SMALL, **body})
                assert (answer.status_code, answer.json()["code"]) == (status, code), (path, body, answer.text)
        assert set(engine.loads) <= {"demo"}, "the default model, at the start"
        unknown = (await client.post("/generate/demo", json={**SMALL, "prompt": "<lora:inkk:1>"})).json()
        assert unknown["available"] == ["ink", "Outline Style"]

    talk(conversation)


def test_requests_with_different_adapters_share_steps() -> None:
    async def conversation(client: httpx.AsyncClient, engine: FakeEngine) -> None:
        engine.gate.clear()
        bodies = [{**SMALL, "prompt": f"a circle {tag}"} for tag in ("<lora:ink:1>", "<lora:outline style:1>")]
        work = [asyncio.create_task(client.post("/generate/demo", json=body)) for body in bodies]
        async with asyncio.timeout(20):
            while len(engine.running) < 2:  # noqa: ASYNC110 - a fake's list
                await asyncio.sleep(0)
        engine.gate.set()
        assert [answer.status_code for answer in await asyncio.gather(*work)] == [200, 200]
        assert engine.most_together == 2

    talk(conversation)


def test_a_dry_run_tells_which_adapters_would_be_read() -> None:
    async def conversation(client: httpx.AsyncClient, engine: FakeEngine) -> None:
        body = {**SMALL, "prompt": "a <lora:ink:1>", "adapters": [{"name": "outline style"}]}
        told = (await client.post("/generate/demo?dry_run=true", json=body)).json()
        assert told["additions_to_load"] == ["Outline Style", "ink"]
        assert told["memory"]["weights_nbytes"] == 120
        assert [one["name"] for one in told["parameters"]["adapters"]] == ["Outline Style", "ink"]
        assert set(engine.loads) <= {"demo"}

    talk(conversation)


def test_a_job_keeps_its_adapters() -> None:
    async def conversation(client: httpx.AsyncClient, engine: FakeEngine) -> None:
        job = (await client.post("/jobs/demo", json={**SMALL, "adapters": [INK]})).json()
        async with asyncio.timeout(20):
            while (await client.get(f"/jobs/{job['id']}")).json()["state"] != "done":  # noqa: ASYNC110
                await asyncio.sleep(0)
        assert uses(engine) == [("ink", 0.8, 0.8)]

    talk(conversation)


def test_openai_takes_adapters_beside_its_own_fields() -> None:
    async def conversation(client: httpx.AsyncClient, engine: FakeEngine) -> None:
        body = {"prompt": "a <lora:outline style:0.5>", "size": "64x64", "adapters": [INK], "vae": "anime", "seed": 1}
        answer = await client.post("/v1/images/generations", json={"model": "demo", **body})
        assert answer.status_code == 200, answer.text
        assert uses(engine) == [("ink", 0.8, 0.8), ("Outline Style", 0.5, 0.5)]
        assert engine.requests[-1].assets.vae is not None

    talk(conversation)


def test_the_web_uis_api_lists_and_uses_loras_and_vaes() -> None:
    async def conversation(client: httpx.AsyncClient, engine: FakeEngine) -> None:
        loras = (await client.get("/sdapi/v1/loras")).json()
        assert [(one["name"], one["path"]) for one in loras] == [
            ("Outline Style", "Outline Style.safetensors"),
            ("ink", "ink.safetensors"),
        ]
        assert loras[0]["metadata"]["ss_network_dim"] == "4"
        assert (await client.post("/sdapi/v1/refresh-loras")).status_code == 200
        assert (await client.get("/sdapi/v1/sd-vae")).json() == [
            {"model_name": "anime", "filename": "anime.safetensors"}
        ]
        body = {"prompt": "a circle <lora:ink:0.5:1>", "width": 64, "height": 64, "steps": 2, "seed": 1}
        made = (await client.post("/sdapi/v1/txt2img", json={**body, "override_settings": {"sd_vae": "anime"}})).json()
        info = json.loads(made["info"])
        assert info["prompt"] == "a circle <lora:ink:0.5:1>"
        assert (info["extra_generation_params"]["Lora hashes"], info["sd_vae_name"]) == ("ink: 1", "anime")
        assert 'Lora hashes: "ink: 1"' in info["infotexts"][0]
        assert uses(engine) == [("ink", 1, 0.5)]
        unknown = await client.post("/sdapi/v1/txt2img", json={**body, "prompt": "<lora:nope:1>"})
        assert (unknown.status_code, unknown.json()["error"]) == (404, "unknown_adapter")
        other = await client.post("/sdapi/v1/options", json={"sd_vae": "nope"})
        assert (other.status_code, other.json()["error"]) == (404, "unknown_vae")

    talk(conversation)


def test_metrics_count_adapters() -> None:
    async def conversation(client: httpx.AsyncClient, engine: FakeEngine) -> None:
        await client.post("/generate/demo", json={**SMALL, "n": 2, "adapters": [INK]})
        text = (await client.get("/metrics")).text
        assert 'litestar_diffusion_addition_loads_total{kind="adapter",name="ink"} 1.0' in text
        assert 'litestar_diffusion_adapter_images_total{adapter="ink"} 2.0' in text
        assert 'litestar_diffusion_loads_total{model="demo"} 1.0' in text

    talk(conversation)


def test_the_schema_describes_adapters() -> None:
    async def conversation(client: httpx.AsyncClient, engine: FakeEngine) -> None:
        document = (await client.get("/schema/openapi.json")).json()
        choice = document["components"]["schemas"]["AdapterChoice"]
        assert set(choice["properties"]) == {"name", "weight", "text_weight", "version"}
        assert choice["required"] == ["name"]
        assert (choice["properties"]["weight"]["minimum"], choice["properties"]["weight"]["maximum"]) == (-10, 10)
        assert msgspec.json.encode(document)

    talk(conversation)
