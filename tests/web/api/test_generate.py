"""`POST /generate/{model}` on a real server with the built-in model; the pictures are looked at."""

import json
import re
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.conftest import Server
from tests.pictures import SHARED_PSNR, images_of, opened, psnr, seen_in

pytestmark = pytest.mark.dtype

PROMPT = "a red circle on a blue background"


def generate(server: Server, model: str = "demo", **body: Any) -> dict[str, Any]:
    answer = server.client.post(f"/generate/{model}", json={"prompt": PROMPT, "seed": 7, **body})
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_the_picture_shows_what_the_prompt_says(server: Server) -> None:
    seen = seen_in(images_of(generate(server))[0])
    assert seen.background == "blue"
    assert seen.figures[0].colour == "red"
    assert seen.figures[0].shape == "circle"


@pytest.mark.parametrize("model", ["demo", "demo-vpred", "demo-turbo"])
def test_most_pictures_show_the_colours_that_were_asked_for(server: Server, model: str) -> None:
    asked = [
        ("yellow", "square", "purple"),
        ("green", "star", "black"),
        ("orange", "heart", "white"),
        ("blue", "ring", "pink"),
    ]
    right = 0
    for colour, shape, background in asked:
        answer = generate(server, model, prompt=f"a {colour} {shape} on a {background} background", seed=3)
        seen = seen_in(images_of(answer)[0])
        right += seen.background == background and bool(seen.figures) and seen.figures[0].colour == colour
    assert right >= 3, f"{right} of {len(asked)}"


def test_a_few_step_model_gets_defaults_of_its_kind(server: Server) -> None:
    answer = generate(server, "demo-turbo", seed=3)
    parameters = answer["parameters"]
    assert (parameters["num_inference_steps"], parameters["guidance_scale"]) == (2, 0.0)
    assert parameters["sampler"] == "lcm"
    assert answer["warnings"] == []
    one_step = generate(server, "demo-turbo", seed=3, num_inference_steps=1)
    for made in (answer, one_step):
        seen = seen_in(images_of(made)[0])
        assert (seen.background, seen.figures[0].colour, seen.figures[0].shape) == ("blue", "red", "circle")


def test_the_answer_holds_all_that_was_decided(server: Server) -> None:
    answer = generate(server, seed=0)
    assert answer["model"] == "demo"
    assert answer["residency"] in ("hot", "cold")
    parameters = answer["parameters"]
    assert parameters["seed"] == answer["images"][0]["seed"] == 0, "0 is a seed, not a wish for a random one"
    assert (parameters["width"], parameters["height"]) == (128, 128)
    assert parameters["sampler"] == "euler"
    assert parameters["guidance_scale"] == 3.0
    assert set(answer["timings"]) == {
        f"{phase}_ms"
        for phase in ("queue", "start", "load", "encode", "upscale", "denoise", "decode", "write", "total")
    }
    assert answer["timings"]["denoise_ms"] > 0
    assert answer["warnings"] == []


def test_without_a_seed_every_picture_is_another_and_can_be_made_again(server: Server) -> None:
    one, two = generate(server, seed=-1), generate(server, seed=None)
    assert one["images"][0]["seed"] != two["images"][0]["seed"]
    again = generate(server, seed=one["images"][0]["seed"])
    assert images_of(again) == images_of(one)


def test_every_image_of_a_batch_equals_its_seed_asked_for_alone(server: Server) -> None:
    batch = generate(server, n=3, seed=40, reproducible=True)
    assert [image["seed"] for image in batch["images"]] == [40, 41, 42]
    for image, data in zip(batch["images"], images_of(batch), strict=True):
        assert images_of(generate(server, seed=image["seed"], reproducible=True)) == [data]


def test_images_that_are_made_together_look_like_those_made_alone(server: Server) -> None:
    for _ in range(2):  # how many are made together grows with what is known of the device
        batch = generate(server, n=3, seed=40)
        for image, data in zip(batch["images"], images_of(batch), strict=True):
            assert psnr(data, images_of(generate(server, seed=image["seed"]))[0]) >= SHARED_PSNR


@pytest.mark.parametrize("reproducible", [True, False])
def test_sixteen_requests_at_once_equal_the_same_requests_alone(server: Server, reproducible: bool) -> None:
    samplers = ["euler", "Euler a", "DPM++ 2M Karras", "ddim", "unipc", "heun", "lms", "dpmpp_2m_sde"]
    bodies = [
        {
            "seed": index,
            "reproducible": reproducible,
            "sampler": samplers[index % len(samplers)],
            "width": (96, 128)[index % 2],
            "height": (128, 96, 160)[index % 3],
            "num_inference_steps": 3 + index % 3,
            "guidance_scale": (1.0, 3.0)[index % 2],
        }
        for index in range(16)
    ]
    alone = [images_of(generate(server, **body)) for body in bodies]
    with ThreadPoolExecutor(16) as pool:
        together = list(pool.map(lambda body: images_of(generate(server, **body)), bodies))
    if reproducible:
        assert together == alone
    assert all(psnr(one, other) >= SHARED_PSNR for (one,), (other,) in zip(together, alone, strict=True))


@pytest.mark.parametrize(("accept", "kind"), [("image/png", "PNG"), ("image/jpeg", "JPEG"), ("image/webp", "WEBP")])
def test_a_client_that_accepts_images_gets_the_file_and_the_facts_in_headers(
    server: Server, accept: str, kind: str
) -> None:
    answer = server.client.post("/generate/demo", json={"prompt": PROMPT, "seed": 7}, headers={"accept": accept})
    assert answer.headers["content-type"] == accept
    assert opened(answer.content).format == kind
    assert answer.headers["x-seed"] == "7"
    assert answer.headers["x-residency"] == "hot"
    assert "denoise;dur=" in answer.headers["server-timing"]
    assert re.search(r"\bstart;dur=\d", answer.headers["server-timing"])


def test_one_file_cannot_hold_two_images(server: Server) -> None:
    answer = server.client.post("/generate/demo", json={"prompt": PROMPT, "n": 2}, headers={"accept": "image/png"})
    assert answer.status_code == 400
    assert answer.json()["errors"][0]["field"] == "n"


def receipt_of(image: bytes) -> dict[str, Any]:
    return json.loads(opened(image).info["litestar-diffusion"])


def replayed(server: Server, receipt: dict[str, Any]) -> bytes:
    return images_of(server.client.post(f"/generate/{receipt['model']}", json=receipt["request"]).json())[0]


def test_the_receipt_in_a_png_makes_the_picture_again(server: Server) -> None:
    """To the last bit, if its steps were its own."""
    said = {"n": 2, "seed": 11, "sampler": "DPM++ 2M Karras", "negative_prompt": "green", "reproducible": True}
    image = images_of(generate(server, **said))[1]
    assert opened(image).info["parameters"].startswith(PROMPT)
    assert receipt_of(image)["shared_steps"] is False
    assert replayed(server, receipt_of(image)) == image


def test_the_largest_seed_of_other_programs_makes_its_picture_and_its_receipt_makes_it_again(server: Server) -> None:
    largest = 2**64 - 1
    answer = generate(server, n=2, seed=largest - 1, reproducible=True, num_inference_steps=2)
    one, other = images_of(answer)
    assert one != other
    assert [image["seed"] for image in answer["images"]] == [largest - 1, largest]
    assert receipt_of(other)["request"]["seed"] == largest
    assert replayed(server, receipt_of(other)) == other


def test_the_receipt_of_an_image_that_shared_steps_says_so_and_makes_nearly_the_same(server: Server) -> None:
    # A size of its own: whether steps are shared depends on what was measured for a size, on a machine that may be busy.
    asked = {"n": 2, "seed": 11, "width": 136, "height": 136, "sampler": "DPM++ 2M Karras", "negative_prompt": "green"}
    image = images_of(generate(server, **asked))[1]
    receipt = receipt_of(image)
    assert receipt["shared_steps"] is True
    again = replayed(server, receipt)
    assert receipt_of(again)["shared_steps"] is False
    assert psnr(again, image) >= SHARED_PSNR


def test_a_receipt_states_the_dtype_and_another_one_brings_a_warning(server: Server) -> None:
    receipt = receipt_of(images_of(generate(server, num_inference_steps=1))[0])
    same, other = receipt["request"], {"float32": "bfloat16", "bfloat16": "float32"}[receipt["request"]["dtype"]]
    assert generate(server, **same)["warnings"] == []
    (warning,) = generate(server, **same | {"dtype": other})["warnings"]
    assert f"computed in {other!r}, this one in {same['dtype']!r}" in warning


def test_guidance_and_the_negative_prompt_act(server: Server) -> None:
    plain = images_of(generate(server))
    assert images_of(generate(server, negative_prompt="a red circle")) != plain
    assert images_of(generate(server, guidance_scale=1.5)) != plain


def test_what_has_no_effect_is_said(server: Server) -> None:
    warnings = generate(server, guidance_scale=1, negative_prompt="green", output_quality=50, clip_skip=5)["warnings"]
    assert any("negative_prompt has no effect" in line for line in warnings)
    assert any("output_quality has no effect" in line for line in warnings)
    assert any("clip_skip was lowered" in line for line in warnings)


def test_a_prompt_longer_than_the_encoders_take_is_cut_with_a_warning(server: Server) -> None:
    long = "a red circle " * 60 + "zebra"
    warnings = generate(server, prompt=long, long_prompts=False, num_inference_steps=1)["warnings"]
    assert any("tokens long" in line and "zebra" in line for line in warnings)


def test_a_long_prompt_is_used_whole_and_its_receipt_makes_the_picture_again(server: Server) -> None:
    long = "a red circle, " * 30 + "(on a blue background:1.2)"
    answer = generate(server, prompt=long, num_inference_steps=2, prompt_weighting=True)
    assert answer["warnings"] == []
    assert answer["parameters"]["long_prompts"] is answer["parameters"]["prompt_weighting"] is True
    receipt = json.loads(opened(images_of(answer)[0]).info["litestar-diffusion"])
    again = server.client.post(f"/generate/{receipt['model']}", json=receipt["request"])
    assert images_of(again.json()) == images_of(answer)
    for flag in ("long_prompts", "prompt_weighting"):
        assert images_of(generate(server, prompt=long, num_inference_steps=2, **{flag: False})) != images_of(answer)


def test_curl_without_a_content_type_of_json_is_understood(server: Server) -> None:
    """`curl -d` says application/x-www-form-urlencoded of all that it sends."""
    answer = server.client.post(
        "/generate/demo",
        content=json.dumps({"prompt": PROMPT}),
        headers={"content-type": "application/x-www-form-urlencoded"},
    )
    assert answer.status_code == 200
