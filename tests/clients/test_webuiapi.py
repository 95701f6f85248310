"""webuiapi drives a live server and gets the pictures that it asked for."""

import base64
import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from PIL import Image

from tests.conftest import Server
from tests.pictures import opened
from training.drawing import draw
from training.reading import read_picture
from training.scenes import held_out_scenes

webuiapi = pytest.importorskip("webuiapi", reason="uv run --group clients pytest tests/clients")

RED_ON_BLUE = "a red circle on a blue background"


@pytest.fixture
def api(server: Server) -> Iterator[Any]:
    host, port = server.url.removeprefix("http://").split(":")
    api = webuiapi.WebUIApi(host=host, port=int(port))
    yield api
    api.session.close()


def small(**fields: Any) -> dict[str, Any]:
    usual = {"prompt": RED_ON_BLUE, "width": 128, "height": 128, "cfg_scale": 3.0, "steps": 14}
    return {**usual, "alwayson_scripts": {}, **fields}  # its own default is one object that all calls share


def test_a_picture_shows_its_prompt_and_its_seed_makes_it_again(api: Any) -> None:
    made = api.txt2img(**small(sampler_name="Euler", n_iter=2, seed=7))
    assert [read_picture(image).background for image in made.images] == ["blue", "blue"]
    assert read_picture(made.image).figures[0].shape == "circle"
    assert made.info["all_seeds"] == [7, 8]
    assert made.info["sd_model_name"] == "demo"
    assert made.info["warnings"] == []
    assert made.parameters["steps"] == 14
    text = api.png_info(made.image).info
    assert text == made.info["infotexts"][0] == made.image.info["parameters"]
    assert "Sampler: Euler, Schedule type: Normal" in text


def test_a_model_is_chosen_for_this_client_alone(server: Server, api: Any) -> None:
    api.util_set_model("demo-vpred")
    try:
        assert api.util_get_current_model() == "demo-vpred"
        made = api.txt2img(**small(seed=1, sampler_name="Euler", scheduler="SGM Uniform"))
        assert made.info["sd_model_name"] == "demo-vpred"
        made_up = server.client.get("/sdapi/v1/options", headers={"authorization": "Basic dXNlcjpwYXNz"}).json()
        assert made_up["sd_model_checkpoint"] == "demo-vpred", "a password that nothing checks is no other client"
        once = api.txt2img(**small(override_settings={"sd_model_checkpoint": "demo"}, steps=2))
        assert once.info["sd_model_name"] == "demo"
        assert api.util_get_current_model() == "demo-vpred"
    finally:
        api.set_options({"sd_model_checkpoint": "demo"})


def test_every_list_and_every_button_answers(api: Any) -> None:
    assert {"demo", "demo-vpred"} <= set(api.util_get_model_names())
    assert "DPM++ 2M" in api.util_get_sampler_names()
    assert {"automatic", "karras", "align_your_steps"} <= set(api.util_get_scheduler_names())
    assert [upscaler["name"] for upscaler in api.get_upscalers()] == ["None", "Lanczos", "demo-x2"]
    assert "Latent" in [mode["name"] for mode in api.get_latent_upscale_modes()]
    assert list(api.get_embeddings()["loaded"]) == ["turquoise"]
    assert api.get_scripts() == {"txt2img": [], "img2img": []}
    assert set(api.get_memory()) == {"ram", "cuda"}
    nothing = (api.get_hypernetworks, api.get_face_restorers, api.get_realesrgan_models)
    assert [ask() for ask in nothing] == [[], [], []]
    assert api.get_prompt_styles() == api.get_sd_vae() == []
    assert "outline" in [lora["name"] for lora in api.get_loras()]
    assert api.refresh_checkpoints() == api.interrupt() == {}
    assert api.get_cmd_flags()["api"] is True
    api.util_wait_for_ready()


def test_a_second_pass_makes_a_larger_picture_of_the_same(api: Any) -> None:
    fields = small(seed=5, enable_hr=True, hr_scale=2, denoising_strength=0.5, hr_second_pass_steps=8)
    for upscaler in ("Latent (bicubic antialiased)", "Lanczos", "demo-x2"):
        made = api.txt2img(**fields, hr_upscaler=upscaler)
        assert made.image.size == (256, 256)
        assert read_picture(made.image).background == "blue"
        assert read_picture(made.image).figures[0].colour == "red"
        assert made.info["denoising_strength"] == 0.5
        assert f"Hires upscaler: {upscaler}" in made.info["infotexts"][0]
    exact = api.txt2img(**{**fields, "hr_resize_x": 192, "hr_resize_y": 256}, hr_upscaler="Lanczos")
    assert exact.image.size == (192, 256)


def test_pictures_are_enlarged(api: Any) -> None:
    large = draw(held_out_scenes(1, seed=5)[0], 128, 128)
    picture = large.resize((64, 64), Image.Resampling.BOX)
    one = api.extra_single_image(image=picture, upscaler_1="demo-x2", upscaling_resize=2).image
    several = api.extra_batch_images(images=[picture, picture], upscaler_1="Lanczos", upscaling_resize=3).images
    assert one.size == (128, 128)
    assert read_picture(one).figures[0].shape == read_picture(large).figures[0].shape
    assert [each.size for each in several] == [(192, 192)] * 2
    exact = api.extra_single_image(
        image=picture, upscaler_1="demo-x2", resize_mode=1, upscaling_resize_w=100, upscaling_resize_h=80
    )
    assert exact.image.size == (100, 80)
    assert api.extra_single_image(image=picture).image.size == (64, 64), "the upscaler None does nothing"
    with pytest.raises(RuntimeError, match="face restoration does not exist here"):
        api.extra_single_image(image=picture, upscaler_1="demo-x2", gfpgan_visibility=1)
    with pytest.raises(RuntimeError, match="there is no upscaler"):
        api.extra_single_image(image=picture, upscaler_1="R-ESRGAN 4x+")


def test_what_does_not_exist_is_refused_in_words(api: Any) -> None:
    picture = Image.new("RGB", (64, 64))
    with pytest.raises(RuntimeError, match="ControlNet does not exist here"):
        api.txt2img(**small(controlnet_units=[webuiapi.ControlNetUnit(image=picture, model="canny")]))
    made = api.txt2img(**small(steps=2, adetailer=[webuiapi.ADetailer(ad_model="face")]))
    assert made.info["warnings"] == ["alwayson_scripts.ADetailer was ignored: extensions do not exist here."]


def test_a_picture_becomes_another_and_its_mask_keeps_the_rest(api: Any) -> None:
    circle = api.txt2img(**small(seed=7)).image
    said = {"width": 128, "height": 128, "cfg_scale": 3.0, "steps": 14, "seed": 3, "alwayson_scripts": {}}
    green = api.img2img(images=[circle], prompt="a green square on a white background", denoising_strength=1.0, **said)
    assert read_picture(green.image).figures[0].colour == "green"
    mask = Image.new("L", (128, 128), 0)
    mask.paste(255, (64, 0, 128, 128))
    part = api.img2img(
        images=[circle],
        mask_image=mask,
        inpainting_fill=1,
        inpaint_full_res=False,
        mask_blur=0,
        prompt="a green square",
        **said,
    )
    assert part.image.crop((0, 0, 64, 128)).tobytes() == circle.crop((0, 0, 64, 128)).tobytes()
    assert part.info["warnings"] == []
    with pytest.raises(RuntimeError, match="init_images: must hold one picture, got 2"):
        api.img2img(images=[circle, circle], prompt="x", **said)


def test_progress_shows_the_picture_and_interrupt_ends_it(api: Any) -> None:
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(api.txt2img, **small(steps=150, width=256, height=256))
        while not (state := api.get_progress())["current_image"] and not waiting.done():
            pass
        assert 0 < state["progress"] < 1
        assert 0 < state["state"]["sampling_step"] < 150 == state["state"]["sampling_steps"]
        assert opened(base64.b64decode(state["current_image"])).format == "JPEG"
        api.interrupt()
        made = waiting.result(60)
    assert (made.image.size, made.info["interrupted"]) == ((256, 256), True)
    assert "is unfinished" in made.info["warnings"][0]
    assert json.loads(made.image.info["litestar-diffusion"])["unfinished"] is True
    assert api.get_progress()["state"]["job_count"] == 0
