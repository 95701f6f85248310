"""huggingface_hub's own `InferenceClient` on a real server; the pictures are looked at."""

import io
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import InferenceClient
from huggingface_hub.errors import BadRequestError, HfHubHTTPError
from PIL import Image

from tests.conftest import Server, StartServer
from tests.pictures import psnr, seen_in
from tests.test_docs import blocks

PROMPT = "a red circle on a blue background"


@pytest.fixture(scope="module")
def client(server: Server) -> InferenceClient:
    return InferenceClient(model=f"{server.url}/generate/demo", timeout=120)


def png(image: Image.Image) -> bytes:
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()


def test_text_to_image_makes_the_picture_of_the_native_route(server: Server, client: InferenceClient) -> None:
    image = client.text_to_image(PROMPT, seed=7)
    seen = seen_in(png(image))
    assert (seen.background, seen.figures[0].colour, seen.figures[0].shape) == ("blue", "red", "circle")
    native = server.client.post(
        "/generate/demo", json={"prompt": PROMPT, "seed": 7, "reproducible": True}, headers={"accept": "image/png"}
    )
    assert psnr(png(client.text_to_image(PROMPT, seed=7, extra_body={"reproducible": True})), native.content) > 90


def test_every_parameter_of_the_client_acts(server: Server, client: InferenceClient) -> None:
    stated: dict[str, Any] = {"width": 128, "height": 64, "num_inference_steps": 3, "guidance_scale": 2.5, "seed": 5}
    made = client.text_to_image(
        PROMPT,
        negative_prompt="green",
        scheduler="DPMSolverMultistepScheduler",
        **stated,
        extra_body={"reproducible": True},
    )
    assert (made.width, made.height, made.format) == (128, 64, "PNG")
    body = {"prompt": PROMPT, "negative_prompt": "green", "sampler": "dpmpp_2m", "reproducible": True, **stated}
    native = server.client.post("/generate/demo", json=body, headers={"accept": "image/png"})
    assert psnr(png(made), native.content) > 90


@pytest.mark.parametrize(
    ("scheduler", "sampler"),
    [
        ("EulerDiscreteScheduler", "euler"),
        ("EulerAncestralDiscreteScheduler", "euler_a"),
        ("HeunDiscreteScheduler", "heun"),
        ("LMSDiscreteScheduler", "lms"),
        ("KDPM2DiscreteScheduler", "dpm2"),
        ("KDPM2AncestralDiscreteScheduler", "dpm2_a"),
        ("DDIMScheduler", "ddim"),
        ("DDPMScheduler", "ddpm"),
        ("PNDMScheduler", "pndm"),
        ("DPMSolverMultistepScheduler", "dpmpp_2m"),
        ("DPMSolverSinglestepScheduler", "dpmpp_2s"),
        ("UniPCMultistepScheduler", "unipc"),
        ("DEISMultistepScheduler", "deis"),
        ("LCMScheduler", "lcm"),
        ("TCDScheduler", "tcd"),
        ("SASolverScheduler", "sa_solver"),
        ("DPM++ 2M Karras", "dpmpp_2m_karras"),
    ],
)
def test_schedulers_of_diffusers_are_our_samplers(server: Server, scheduler: str, sampler: str) -> None:
    body = {"inputs": "x", "parameters": {"scheduler": scheduler}}
    told = server.client.post("/generate/demo?dry_run=true", json=body)
    assert told.json()["parameters"]["sampler"] == sampler


def test_an_alias_and_an_api_key_are_fine(server: Server) -> None:
    by_alias = InferenceClient(base_url=f"{server.url}/generate/gpt-image-1", api_key="secret")
    assert by_alias.text_to_image("a blue star", num_inference_steps=1, width=64, height=64).size == (64, 64)


@pytest.mark.parametrize(
    ("call", "status", "told"),
    [
        ({"width": 9999}, 400, r"parameters\.width: .*9999"),
        ({"scheduler": "NoSuchScheduler"}, 400, r"parameters\.scheduler: .*NoSuchScheduler"),
        ({"extra_body": {"sampler": "nope"}}, 400, r"parameters\.sampler: .*nope"),
        ({"extra_body": {"stepz": 3}}, 400, r"parameters\.stepz: is not known here"),
        (
            {"extra_body": {"sampler": "ddim"}, "scheduler": "DDIMScheduler"},
            400,
            r"parameters\.scheduler: must be absent",
        ),
        ({"prompt": "x" * 5000}, 400, r"inputs: must be at most 4000"),
        ({"model": "/generate/nope"}, 404, "no model named 'nope'"),
    ],
)
def test_errors_are_shown_by_the_client(
    server: Server, client: InferenceClient, call: dict[str, Any], status: int, told: str
) -> None:
    call = {"prompt": PROMPT, **call, **({"model": server.url + call["model"]} if "model" in call else {})}
    with pytest.raises(HfHubHTTPError, match=told) as caught:
        client.text_to_image(**call)
    assert isinstance(caught.value, BadRequestError) == (status == 400)
    assert caught.value.response.status_code == status
    assert caught.value.request_id == caught.value.response.headers["x-request-id"]


def test_image_to_image_begins_from_the_picture(client: InferenceClient) -> None:
    """With parameters the client sends JSON, without them the picture itself."""
    circle = png(client.text_to_image(PROMPT, seed=7))
    green = client.image_to_image(
        circle,
        prompt="a green square on a white background",
        target_size={"width": 128, "height": 64},
        strength=1.0,
        seed=3,
    )
    seen = seen_in(png(green))
    assert (green.size, seen.background, seen.figures[0].colour) == ((128, 64), "white", "green")
    again = client.image_to_image(circle)
    assert again.size == Image.open(io.BytesIO(circle)).size


def test_what_is_wrong_with_a_picture_is_shown_by_the_client(client: InferenceClient) -> None:
    damaged = png(Image.new("RGB", (64, 64)))[:60]
    with pytest.raises(BadRequestError, match="inputs: is not a whole PNG"):
        client.image_to_image(damaged, prompt="x")
    with pytest.raises(BadRequestError, match=r"parameters\.strength: expected"):
        client.image_to_image(png(Image.new("RGB", (64, 64))), prompt="x", strength=2.0)


def test_the_example_of_the_page_runs(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (example,) = (block for block in blocks("docs/clients.md", "python") if "huggingface_hub" in block)
    monkeypatch.chdir(tmp_path)
    exec(compile(example.replace("http://127.0.0.1:8000", server.url), "docs/clients.md", "exec"), {})
    assert seen_in((tmp_path / "out.png").read_bytes()).background == "blue"


def test_switched_off_the_route_is_the_native_one_alone(start_server: StartServer) -> None:
    server = start_server(LITESTAR_DIFFUSION__DIALECTS__HUGGINGFACE="false", LITESTAR_DIFFUSION__MODELS__DEFAULT="")
    server.wait_until("/health/live")
    refused = server.client.post("/generate/demo", json={"inputs": "x"})
    assert (refused.status_code, refused.json()["code"]) == (400, "invalid_request")
    assert {error["field"] for error in refused.json()["errors"]} == {"inputs", "prompt"}
