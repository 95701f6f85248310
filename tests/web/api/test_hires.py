"""Two passes in one request, on a real server, beside the same passes asked for by hand."""

import base64
import json
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.conftest import Server
from tests.pictures import images_of, opened, psnr, seen_in

_SHARED_AT_TWICE_THE_SIZE_PSNR = 30.0
"""The demo model was trained on half the size: beyond it, rounding in shared steps grows more."""
PROMPT = "a red circle on a blue background"


def body(**fields: Any) -> dict[str, Any]:
    hires = {"scale": 2, "strength": 0.5, **fields.pop("hires", {})}
    return {"prompt": PROMPT, "seed": 5, "num_inference_steps": 12, "reproducible": True, "hires": hires, **fields}


def made(server: Server, body: dict[str, Any], model: str = "demo") -> dict[str, Any]:
    answer = server.client.post(f"/generate/{model}", json=body)
    assert answer.status_code == 200, answer.text
    return answer.json()


def by_hand(server: Server, upscaler: str, sampler: str) -> bytes:
    """Text to image, enlarge, image to image: 12 steps at strength 0.5 are those of a schedule of 24."""
    asked = {"prompt": PROMPT, "seed": 5, "num_inference_steps": 12, "reproducible": True, "sampler": sampler}
    (first,) = images_of(made(server, asked))
    enlarged = server.client.post(
        "/upscale", json={"image": base64.b64encode(first).decode(), "upscaler": upscaler, "scale": 2}
    ).json()
    again = {**asked, "image": enlarged["images"][0]["image"], "strength": 0.5, "num_inference_steps": 24}
    (second,) = images_of(made(server, again))
    return second


@pytest.mark.parametrize("upscaler", ["lanczos", "demo-x2"])
@pytest.mark.parametrize("sampler", ["euler", "euler_a"])
def test_it_equals_the_same_passes_by_hand(server: Server, upscaler: str, sampler: str) -> None:
    answer = made(server, body(hires={"upscaler": upscaler}, sampler=sampler))
    (image,) = images_of(answer)
    assert opened(image).size == (256, 256)
    assert seen_in(image).figures[0].colour == "red"
    assert psnr(image, by_hand(server, upscaler, sampler)) == float("inf")
    assert answer["images"][0]["width"] == 256
    assert answer["timings"]["upscale_ms"] > 0 or upscaler == "lanczos"


@pytest.mark.parametrize(
    "upscaler", ["latent", "latent-bicubic-antialiased", "latent-nearest-exact", "lanczos", "demo-x2"]
)
def test_a_receipt_makes_the_same_bytes_again(server: Server, upscaler: str) -> None:
    answer = made(server, body(hires={"upscaler": upscaler, "steps": 7, "sampler": "dpmpp_2m"}, n=2))
    first, second = images_of(answer)
    assert first != second
    for image in (first, second):
        assert seen_in(image).background == "blue"
        receipt = json.loads(opened(image).info["litestar-diffusion"])
        (again,) = images_of(made(server, receipt["request"]))
        assert again == image
    resolved = answer["parameters"]["hires"]
    assert (resolved["width"], resolved["height"], resolved["steps"]) == (256, 256, 7)
    assert resolved["sampler"] == "dpmpp_2m"
    text = opened(first).info["parameters"]
    assert "Hires upscale: 2" in text
    assert "Hires steps: 7" in text


def test_another_shape_is_reached_by_cutting(server: Server) -> None:
    for upscaler in ("latent", "lanczos"):
        (image,) = images_of(
            made(server, body(hires={"scale": None, "width": 192, "height": 256, "upscaler": upscaler}))
        )
        assert opened(image).size == (192, 256)


def test_neighbours_are_not_affected_and_steps_are_shared_in_both_passes(server: Server) -> None:
    asked = {**body(), "reproducible": False}
    small = {"prompt": "a green star on a white background", "seed": 3, "reproducible": True, "num_inference_steps": 12}
    (alone,) = images_of(made(server, small))
    (alone_hires,) = images_of(made(server, {**asked, "reproducible": True}))
    with ThreadPoolExecutor() as threads:
        hires = [threads.submit(made, server, asked) for _ in range(3)]
        neighbour = threads.submit(made, server, small)
    assert images_of(neighbour.result())[0] == alone
    for answer in hires:
        assert psnr(images_of(answer.result())[0], alone_hires) >= _SHARED_AT_TWICE_THE_SIZE_PSNR


def test_steps_of_both_passes_and_of_the_upscaler_are_events(server: Server) -> None:
    answer = server.client.post("/jobs/demo", json=body(hires={"upscaler": "demo-x2", "steps": 4}, previews=True))
    job = answer.json()["id"]
    steps = [
        json.loads(line.removeprefix("data: "))
        for line in server.client.get(f"/jobs/{job}/events").text.splitlines()
        if line.startswith("data: ") and '"done"' in line and '"total"' in line
    ]
    counted = [(event["done"], event["total"]) for event in steps]
    assert counted[-1] == (17, 17), "12 steps, one tile, 4 steps"
    assert counted == sorted(counted)
    assert {total for _, total in counted} == {17}


def test_a_dry_run_plans_every_pass(server: Server) -> None:
    plan = server.client.post(
        "/generate/demo", params={"dry_run": True}, json=body(hires={"upscaler": "demo-x2"})
    ).json()
    assert [(each["model"], each["width"]) for each in plan["passes"]] == [
        ("demo", 128),
        ("upscaler:demo-x2", 128),
        ("demo", 256),
    ]
    assert plan["memory"]["activation_nbytes"] == max(
        each["activation_nbytes"] for each in plan["passes"] if each["model"] == "demo"
    )


@pytest.mark.parametrize(
    ("hires", "others", "field", "message"),
    [
        ({"scale": 9}, {}, "hires.scale", "<= 8"),
        ({"scale": None, "width": 100}, {}, "hires.width", "multiples of 8"),
        ({"scale": None, "width": 64, "height": 128}, {}, "hires.width", "larger than the first pass"),
        ({"width": 256}, {}, "hires.scale", "must be absent beside hires.width"),
        ({"scale": 8}, {"width": 512, "height": 512}, "hires.scale", "at most 4194304 pixels"),
        ({"steps": 151}, {}, "hires.steps", "must be at most 150"),
        ({"strength": 0.01, "steps": 20}, {}, "hires.strength", "use at least 0.02"),
        ({"upscaler": "demo-x3"}, {}, "hires.upscaler", "Did you mean 'demo-x2'"),
        ({"sampler": "nothing"}, {}, "hires.sampler", "there is no sampler"),
        ({"what": 1}, {}, "hires.what", ""),
    ],
)
def test_refusals_name_the_field(
    server: Server, hires: dict[str, Any], others: dict[str, Any], field: str, message: str
) -> None:
    answer = server.client.post("/generate/demo", json=body(hires=hires, **others))
    assert answer.status_code == 400, answer.text
    errors = {error["field"]: error["message"] for error in answer.json()["errors"]}
    assert message in errors[field]


def test_a_weak_latent_pass_is_a_warning(server: Server) -> None:
    answer = made(server, body(hires={"strength": 0.3, "upscaler": "latent"}))
    assert any("leaves blurred cells at strength 0.3" in warning for warning in answer["warnings"])


def test_by_default_the_figure_of_the_first_pass_stays_in_one_piece(server: Server) -> None:
    answer = made(server, {"prompt": PROMPT, "seed": 7, "hires": {}})
    resolved, (image,) = answer["parameters"]["hires"], images_of(answer)
    assert (resolved["upscaler"], resolved["strength"]) == ("lanczos", 0.3)
    (figure,) = seen_in(image).figures
    assert figure.colour == "red"


def test_interpolated_latents_change_more_by_default(server: Server) -> None:
    answer = server.client.post(
        "/generate/demo", params={"dry_run": True}, json={"prompt": PROMPT, "hires": {"upscaler": "latent"}}
    )
    assert answer.json()["parameters"]["hires"]["strength"] == 0.6
