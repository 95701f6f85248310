"""The web UI's API on the wire: fields, errors, and what belongs to a client."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

import httpx
import pytest
from litestar import Litestar
from litestar.testing import AsyncTestClient

from litestar_diffusion import DiffusionConfig, DiffusionPlugin
from litestar_diffusion.testing import FakeEngine, fake_services, model
from litestar_diffusion.web.a1111.options import Options
from litestar_diffusion.web.a1111.sessions import Sessions

SMALL = {"prompt": "x", "width": 64, "height": 64, "steps": 2, "seed": 1}
TXT2IMG, OPTIONS, PROGRESS = "/sdapi/v1/txt2img", "/sdapi/v1/options", "/sdapi/v1/progress"
KEY, OTHER_KEY = {"authorization": "Basic dXNlcjpvbmU="}, {"authorization": "Basic dXNlcjp0d28="}

Talk = Callable[[httpx.AsyncClient, FakeEngine], Awaitable[None]]


def talk(with_server: Talk) -> None:
    """Run a conversation with a server of two models."""
    engine = FakeEngine()
    plugin = DiffusionPlugin(
        DiffusionConfig(
            build=lambda settings: fake_services(model("demo"), model("other"), settings=settings, engine=engine),
            client_of=lambda connection: connection.headers.get("authorization") or None,
        )
    )

    async def main() -> None:
        app = Litestar(plugins=[plugin])
        # On one event loop, so that requests can wait for each other; Litestar's own client has one request at a time.
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        async with app.lifespan(), httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
            await with_server(client, engine)

    asyncio.run(main())


def info_of(answer: Any) -> dict[str, Any]:
    assert answer.status_code == 200, answer.text
    return json.loads(answer.json()["info"])


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not condition():  # noqa: ASYNC110 - the conditions are those of fakes
            await asyncio.sleep(0)


def test_images_are_batch_size_times_n_iter_with_consecutive_seeds() -> None:
    async def conversation(client: httpx.AsyncClient, engine: FakeEngine) -> None:
        answer = await client.post(TXT2IMG, json={**SMALL, "batch_size": 2, "n_iter": 3})
        assert len(answer.json()["images"]) == 6
        assert info_of(answer)["all_seeds"] == [1, 2, 3, 4, 5, 6]
        assert len(engine.requests) == 1
        unsent = await client.post(TXT2IMG, json={**SMALL, "send_images": False})
        assert (unsent.json()["images"], len(info_of(unsent)["infotexts"])) == ([], 1)
        drawn = [info_of(await client.post(TXT2IMG, json={**SMALL, "seed": -1}))["seed"] for _ in range(2)]
        assert drawn[0] != drawn[1]
        many = await client.post(TXT2IMG, json={**SMALL, "batch_size": 3, "n_iter": 3})
        assert many.status_code == 422
        assert many.json() == {"error": "invalid_request", "detail": "batch_size * n_iter: must be at most 8, got 9"}

    talk(conversation)


def test_absent_fields_nulls_and_numbers_as_text_are_taken() -> None:
    """The model's own values stand for absent ones: the web UI's are those of other kinds of models."""

    async def conversation(client: httpx.AsyncClient, engine: FakeEngine) -> None:
        body = {"prompt": "x", "width": "64", "height": 64.0, "steps": "2", "cfg_scale": None, "sampler_name": None}
        assert (await client.post(TXT2IMG, json=body)).status_code == 200
        assert (await client.post(TXT2IMG, content=json.dumps(body), headers={"content-type": "text/plain"})).is_success
        asked = engine.requests[0]
        assert (asked.width, asked.num_inference_steps, asked.sampler.schedule) == (64, 2, "model")

    talk(conversation)


def test_a_wrong_body_is_answered_with_422_in_the_web_uis_shape() -> None:
    async def conversation(client: httpx.AsyncClient, engine: FakeEngine) -> None:
        for content in (b"[1]", b"{", b'{"prompt": 1}', b'{"steps": 0}', b"\xff", b"[" * 100_000):
            answer = await client.post(TXT2IMG, content=content)
            assert (answer.status_code, set(answer.json())) == (422, {"error", "detail"}), content
        unknown = await client.post(TXT2IMG, json={**SMALL, "override_settings": {"sd_model_checkpoint": "nope"}})
        assert (unknown.status_code, unknown.json()["error"]) == (404, "unknown_model")
        assert not engine.requests

    talk(conversation)


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"enable_hr": True, "denoising_strength": 0}, "denoising_strength"),
        ({"enable_hr": True, "hr_prompt": "a cat"}, "hr_prompt"),
        ({"enable_hr": True, "hr_upscaler": "R-ESRGAN 4x+"}, "hr_upscaler"),
        ({"enable_hr": True, "hr_scale": 1}, "hr_scale"),
        ({"enable_hr": True, "hr_scale": 1e308}, "hr_scale"),
        ({"enable_hr": True, "hr_scale": "nan"}, "hr_scale"),
        ({"enable_hr": True, "hr_resize_x": 10**30}, "hr_resize_x"),
        ({"enable_hr": True, "denoising_strength": 6e-161}, "denoising_strength"),
        ({"tiling": True}, "tiling"),
        ({"restore_faces": True}, "restore_faces"),
        ({"styles": ["photo"]}, "styles"),
        ({"refiner_checkpoint": "sd_xl_refiner"}, "refiner_checkpoint"),
        ({"subseed_strength": 0.1}, "subseed_strength"),
        ({"seed_resize_from_w": 512}, "seed_resize_from_w"),
        ({"infotext": "a cat"}, "infotext"),
        ({"alwayson_scripts": {"controlnet": {"args": [{"model": "canny"}]}}}, "alwayson_scripts.ControlNet"),
        ({"alwayson_scripts": {"Refiner": {"args": [True, "refiner", 0.8]}}}, "alwayson_scripts.Refiner"),
        ({"scheduler": "KL Optimal", "sampler_name": "Euler"}, "scheduler"),
        ({"sampler_name": "DPM adaptive"}, "sampler_name"),
    ],
)
def test_what_would_make_another_picture_is_refused_by_name(fields: dict[str, Any], named: str) -> None:
    async def conversation(client: httpx.AsyncClient, engine: FakeEngine) -> None:
        answer = await client.post(TXT2IMG, json={**SMALL, **fields})
        assert answer.status_code == 422
        assert answer.json()["detail"].startswith(f"{named}: ")
        assert not engine.requests

    talk(conversation)


@pytest.mark.parametrize(
    ("fields", "warned"),
    [
        ({"alwayson_scripts": {"ADetailer": {"args": [True, {}]}}}, "alwayson_scripts.ADetailer"),
        ({"script_name": "X/Y/Z plot"}, "script_name"),
        ({"save_images": True}, "save_images"),
        ({"eta": 0.5}, "eta"),
        ({"s_churn": 10}, "s_churn"),
        ({"distilled_cfg_scale": 3.5}, "distilled_cfg_scale"),
        ({"override_settings": {"eta_noise_seed_delta": 31337}}, "override_settings.eta_noise_seed_delta"),
        ({"scheduler": "Karras", "sampler_name": "DDIM"}, "scheduler"),
    ],
)
def test_what_is_left_out_is_named_in_a_warning(fields: dict[str, Any], warned: str) -> None:
    async def conversation(client: httpx.AsyncClient, engine: FakeEngine) -> None:
        warnings = info_of(await client.post(TXT2IMG, json={**SMALL, **fields}))["warnings"]
        assert len(warnings) == 1
        assert warned in warnings[0]

    talk(conversation)


def test_what_is_switched_off_brings_no_warning() -> None:
    off = {
        "ControlNet": {"args": [{"enabled": False, "model": "canny"}, {"model": "None", "module": "none"}]},
        "ADetailer": {"args": [False]},
        "Refiner": {"args": [False, "", 0.8]},
        "Soft inpainting": [],
        "odd": 3,
    }

    async def conversation(client: httpx.AsyncClient, engine: FakeEngine) -> None:
        body = {**SMALL, "alwayson_scripts": off, "denoising_strength": 0.7, "subseed": 4, "styles": [""], "eta": 1}
        assert info_of(await client.post(TXT2IMG, json=body))["warnings"] == []

    talk(conversation)


def test_the_model_belongs_to_the_client_and_not_to_the_process() -> None:
    async def conversation(client: httpx.AsyncClient, engine: FakeEngine) -> None:
        async def current(headers: dict[str, str]) -> str:
            return (await client.get(OPTIONS, headers=headers)).json()["sd_model_checkpoint"]

        whole = (await client.get(OPTIONS, headers=KEY)).json()
        changed = {**whole, "sd_model_checkpoint": "folder\\other.safetensors [31e35c80fc]", "unknown_option": [1]}
        assert (await client.post(OPTIONS, json=changed, headers=KEY)).json() == {}
        assert [await current(headers) for headers in (KEY, OTHER_KEY, {})] == ["other", "demo", "demo"]
        made = await client.post(TXT2IMG, json=SMALL, headers=KEY)
        assert info_of(made)["sd_model_name"] == "other"
        assert info_of(await client.post(TXT2IMG, json=SMALL))["sd_model_name"] == "demo"
        refused = await client.post(OPTIONS, json={"sd_model_checkpoint": "nope"}, headers=KEY)
        assert (refused.status_code, await current(KEY)) == (404, "other")

    talk(conversation)


def test_an_empty_authorization_header_is_that_of_no_key() -> None:
    """Open WebUI sends it if no password is set."""

    async def conversation(client: httpx.AsyncClient, engine: FakeEngine) -> None:
        await client.post(OPTIONS, json={"sd_model_checkpoint": "other"}, headers={"authorization": ""})
        assert (await client.get(OPTIONS)).json()["sd_model_checkpoint"] == "other"

    talk(conversation)


def test_overrides_last_for_a_request_unless_it_says_otherwise() -> None:
    async def conversation(client: httpx.AsyncClient, engine: FakeEngine) -> None:
        override = {"override_settings": {"sd_model_checkpoint": "other", "samples_format": "jpg"}}
        made = await client.post(TXT2IMG, json={**SMALL, **override})
        assert info_of(made)["sd_model_name"] == "other"
        assert made.json()["images"][0].startswith("/9j/")
        assert (await client.get(OPTIONS)).json()["sd_model_checkpoint"] == "demo"
        await client.post(TXT2IMG, json={**SMALL, **override, "override_settings_restore_afterwards": False})
        assert (await client.get(OPTIONS)).json()["samples_format"] == "jpg"

    talk(conversation)


def test_clip_skip_counts_as_the_web_ui_does() -> None:
    async def conversation(client: httpx.AsyncClient, engine: FakeEngine) -> None:
        for stated in (1, 2, 3):
            body = {**SMALL, "override_settings": {"CLIP_stop_at_last_layers": stated}}
            assert (await client.post(TXT2IMG, json=body)).status_code == 200
        assert [request.clip_skip for request in engine.requests] == [0, 0, 1]

    talk(conversation)


def test_progress_interrupt_and_skip_see_only_the_clients_own_requests() -> None:
    async def conversation(client: httpx.AsyncClient, engine: FakeEngine) -> None:
        engine.gate.clear()
        mine = asyncio.create_task(client.post(TXT2IMG, json={**SMALL, "steps": 50}, headers=KEY))
        theirs = asyncio.create_task(client.post(TXT2IMG, json={**SMALL, "steps": 50}, headers=OTHER_KEY))
        await until(lambda: len(engine.running) == 2)
        seen = (await client.get(PROGRESS, headers=KEY)).json()
        assert (seen["state"]["job_count"], seen["progress"]) == (1, 0.01)
        assert (await client.get(PROGRESS)).json()["state"]["job_count"] == 0
        assert (await client.post("/sdapi/v1/interrupt")).json() == {}
        assert (await client.post("/sdapi/v1/skip", headers=KEY)).json() == {}
        engine.gate.set()
        stopped, made = info_of(await mine), info_of(await theirs)
        assert (stopped["interrupted"], made["interrupted"]) == (True, False)
        assert ["seed 1 is unfinished" in warning for warning in stopped["warnings"]] == [True]
        assert made["warnings"] == []
        assert (await client.get(PROGRESS, headers=KEY)).json()["progress"] == 0
        assert (await client.get("/jobs")).json() == [], "a picture that was answered is not kept"

    talk(conversation)


def test_a_model_is_unloaded_unless_it_is_in_use() -> None:
    async def conversation(client: httpx.AsyncClient, engine: FakeEngine) -> None:
        for route in ("reload", "unload", "unload", "reload"):
            assert (await client.post(f"/sdapi/v1/{route}-checkpoint")).json() == {}
        engine.gate.clear()
        waiting = asyncio.create_task(client.post(TXT2IMG, json=SMALL))
        await until(lambda: bool(engine.running))
        assert (await client.post("/sdapi/v1/unload-checkpoint")).status_code == 409
        engine.gate.set()
        assert (await waiting).status_code == 200

    talk(conversation)


def test_no_more_clients_are_remembered_than_the_limit() -> None:
    sessions = Sessions(max_clients=2)
    for client in ("first", "second"):
        sessions.of(client).options = Options(jpeg_quality=1)
    sessions.of("first")
    sessions.of("third")
    assert [sessions.of(client).options.jpeg_quality for client in ("first", "second")] == [1, 80]


def test_a_long_name_of_a_model_is_not_what_is_remembered() -> None:
    async def conversation(client: httpx.AsyncClient, engine: FakeEngine) -> None:
        name = "x" * 100_000 + "/other.safetensors"
        assert (await client.post(OPTIONS, json={"sd_model_checkpoint": name})).status_code == 200
        assert (await client.get(OPTIONS)).json()["sd_model_checkpoint"] == "other"

    talk(conversation)


def test_every_lifespan_begins_without_clients() -> None:
    plugin = DiffusionPlugin(
        DiffusionConfig(build=lambda settings: fake_services(model("demo"), model("other"), settings=settings))
    )
    app = Litestar(plugins=[plugin])

    async def once() -> str:
        async with AsyncTestClient(app) as client:
            before = (await client.get(OPTIONS)).json()["sd_model_checkpoint"]
            await client.post(OPTIONS, json={"sd_model_checkpoint": "other"})
            return before

    assert [asyncio.run(once()) for _ in range(2)] == ["demo", "demo"]


def test_png_info_reads_what_the_server_wrote() -> None:
    async def conversation(client: httpx.AsyncClient, engine: FakeEngine) -> None:
        made = await client.post(TXT2IMG, json={**SMALL, "prompt": "a cat", "negative_prompt": "dog"})
        image = made.json()["images"][0]
        for sent in (image, f"data:image/png;base64,{image}"):
            told = (await client.post("/sdapi/v1/png-info", json={"image": sent})).json()
            assert told["info"] == info_of(made)["infotexts"][0]
            assert set(told["items"]) == {"litestar-diffusion"}
            assert (told["parameters"]["Prompt"], told["parameters"]["Seed"]) == ("a cat", "1")

    talk(conversation)


def test_png_info_takes_larger_bodies_than_other_routes() -> None:
    async def conversation(client: httpx.AsyncClient, engine: FakeEngine) -> None:
        for nbytes, status in ((2_000_000, 422), (49 * 1024**2, 413)):
            answer = await client.post("/sdapi/v1/png-info", json={"image": "A" * nbytes})
            assert (answer.status_code, set(answer.json())) == (status, {"error", "detail"})
        assert (await client.post(TXT2IMG, json={"prompt": "A" * 2_000_000})).status_code == 413
        for image in ("", "~", "data:,", "data:image/png;base64,~"):
            answer = await client.post("/sdapi/v1/png-info", json={"image": image})
            assert answer.status_code == 422
            assert answer.json()["detail"].startswith("image: ")

    talk(conversation)


@pytest.mark.parametrize(
    ("path", "fields", "named"),
    [
        ("/sdapi/v1/img2img", {"prompt": "x", "init_images": ["aGVsbG8="]}, "init_images: "),
        ("/sdapi/v1/extra-single-image", {"image": "aGVsbG8=", "upscaler_1": "nope"}, "upscaler_1: "),
        (TXT2IMG, {**SMALL, "enable_hr": True, "hr_sampler_name": "nope"}, "hr_sampler_name: "),
        (TXT2IMG, {**SMALL, "enable_hr": True, "sampler_name": "Euler", "hr_scheduler": "nope"}, "hr_scheduler: "),
        (TXT2IMG, {**SMALL, "sampler_name": "nope"}, "sampler_name: "),
    ],
)
def test_wrong_fields_are_named_as_the_client_sent_them(path: str, fields: dict[str, Any], named: str) -> None:
    async def conversation(client: httpx.AsyncClient, engine: FakeEngine) -> None:
        answer = await client.post(path, json=fields)
        assert answer.status_code in (404, 422), answer.text
        assert answer.json()["detail"].startswith(named)

    talk(conversation)


def test_what_is_nested_too_deeply_to_be_searched_for_files_is_still_answered() -> None:
    async def conversation(client: httpx.AsyncClient, engine: FakeEngine) -> None:
        deep = f'{json.dumps(SMALL)[:-1]}, "alwayson_scripts": {{"a": {"[" * 600}{"]" * 600}}}}}'
        answer = await client.post(TXT2IMG, content=deep, headers={"content-type": "application/json"})
        assert answer.status_code in (200, 422), answer.text

    talk(conversation)
