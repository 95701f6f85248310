"""`POST /upscale` and `GET /upscalers` of a real server."""

import base64
import hashlib
import io
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from tests.conftest import Server
from tests.pictures import images_of, opened, psnr
from tests.upscalers import compact, write
from training.drawing import draw
from training.scenes import held_out_scenes


def png(picture: Image.Image) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    return buffer.getvalue()


LARGE = draw(held_out_scenes(1, seed=5)[0], 192, 128)
SMALL = png(LARGE.resize((96, 64), Image.Resampling.BOX))


def body(**fields: Any) -> dict[str, Any]:
    return {"image": base64.b64encode(SMALL).decode(), **fields}


def test_a_network_enlarges_better_than_lanczos(server: Server) -> None:
    made = {name: server.client.post("/upscale", json=body(upscaler=name)) for name in ("demo-x2", "lanczos")}
    pictures = {name: images_of(answer.json())[0] for name, answer in made.items()}
    assert all(opened(picture).size == (192, 128) for picture in pictures.values())
    assert psnr(pictures["demo-x2"], png(LARGE)) > psnr(pictures["lanczos"], png(LARGE))
    facts = made["demo-x2"].json()
    assert facts["parameters"]["image_sha256"] == hashlib.sha256(SMALL).hexdigest()
    assert facts["residency"] in ("cold", "hot")
    assert made["lanczos"].json()["residency"] is None
    assert facts["warnings"] == []


def test_posting_the_parameters_again_gives_the_same_bytes(server: Server) -> None:
    first = server.client.post("/upscale", json=body(upscaler="demo-x2", scale=3)).json()
    again = server.client.post("/upscale", json=body(**first["parameters"])).json()
    assert images_of(again) == images_of(first)
    assert again["warnings"] == []
    assert opened(images_of(first)[0]).size == (288, 192)
    changed = server.client.post("/upscale", json=body(**{**first["parameters"], "upscaler_version": "0"})).json()
    assert "has changed since upscaler_version '0'" in changed["warnings"][0]


@pytest.mark.parametrize(
    ("fields", "size"),
    [
        ({"scale": 1.5}, (144, 96)),
        ({"width": 144}, (144, 96)),
        ({"height": 128}, (192, 128)),
        ({"width": 128, "height": 128}, (128, 128)),
        ({"width": 200, "height": 128, "resize": "stretch", "upscaler": "demo-x2"}, (200, 128)),
    ],
)
def test_sizes(server: Server, fields: dict[str, Any], size: tuple[int, int]) -> None:
    answer = server.client.post("/upscale", json=body(**fields), headers={"accept": "image/png"})
    assert answer.headers["content-type"] == "image/png"
    assert opened(answer.content).size == size
    assert (answer.headers["x-width"], answer.headers["x-height"]) == tuple(map(str, size))


@pytest.mark.parametrize(
    ("fields", "field", "message"),
    [
        ({"upscaler": "latent"}, "upscaler", "interpolates the latents"),
        ({"upscaler": "demo-x3"}, "upscaler", "Did you mean 'demo-x2'?"),
        ({"upscaler": "../demo"}, "upscaler", "there is no upscaler"),
        ({"scale": 1}, "scale", "> 1"),
        ({"scale": 9}, "scale", "<= 8"),
        ({"width": 64}, "width", "must make the picture larger"),
        ({"width": 1000}, "width", "at most 8 times"),
        ({"width": 192, "scale": 2}, "scale", "must be absent beside width"),
        ({"image": "aGFsbG8="}, "image", "is not a whole PNG"),
    ],
)
def test_refusals(server: Server, fields: dict[str, Any], field: str, message: str) -> None:
    answer = server.client.post("/upscale", json=body(**fields))
    assert answer.status_code == 400
    assert answer.json()["errors"][0]["field"] == field
    assert message in answer.json()["errors"][0]["message"]


def test_a_form_holds_the_picture_as_a_file(server: Server) -> None:
    form = server.client.post(
        "/upscale", files={"image": ("in.png", SMALL)}, data={"upscaler": "demo-x2", "scale": "2"}
    )
    assert images_of(form.json()) == images_of(server.client.post("/upscale", json=body(upscaler="demo-x2")).json())


def test_an_idempotency_key_joins_equal_bodies(server: Server) -> None:
    headers = {"idempotency-key": "enlarge"}
    with ThreadPoolExecutor() as threads:
        posts = [
            threads.submit(server.client.post, "/upscale", json=body(upscaler="demo-x2"), headers=headers)
            for _ in range(3)
        ]
    answers = [post.result().json() for post in posts]
    assert len({answer["id"] for answer in answers}) == 1
    other = server.client.post("/upscale", json=body(upscaler="demo-x2", scale=3), headers=headers)
    assert other.status_code == 409


@pytest.fixture
def models(server: Server) -> Iterator[Path]:
    """The folder of models of the server, for a test."""
    folder = server.log.parent / "models"
    folder.mkdir()
    yield folder
    shutil.rmtree(folder)


def test_lists_tell_what_there_is(server: Server, models: Path) -> None:
    folder = models / "upscalers"
    write(folder / "tiny.safetensors", compact())
    (folder / "old.pth").write_bytes(b"\x80\x04")
    write(folder / "lora.safetensors", {"lora_unet_x.lora_down.weight": compact()["body.0.weight"]})
    write(models / "misplaced.safetensors", compact(4))
    listed = {entry["name"]: entry for entry in server.client.get("/upscalers").json()}
    assert list(listed) == ["lanczos", "demo-x2", "lora", "old", "tiny"]
    assert (listed["tiny"]["architecture"], listed["tiny"]["scale"]) == ("Compact", 2)
    assert "pickle" in listed["old"]["unusable"]
    assert "LoRA" in listed["lora"]["unusable"]
    assert server.client.get("/").json()["upscalers"] == ["demo-x2", "tiny"]
    assert not any(model["name"] in ("tiny", "demo-x2") for model in server.client.get("/models").json())
    refused = server.client.post("/upscale", json=body(upscaler="old"))
    assert "cannot be used: it is a pickle" in refused.json()["errors"][0]["message"]
    assert server.client.post("/generate/upscaler:demo-x2", json={"prompt": ""}).status_code == 404
    server.client.post("/upscale", json=body(upscaler="tiny"))
    pooled = {model["name"]: model for model in server.client.get("/pool").json()["models"]}
    assert pooled["upscaler:tiny"]["residency"] == "device"


def test_metrics_and_the_log_count_it(server: Server) -> None:
    server.client.post("/upscale", json=body(upscaler="demo-x2"))
    text = server.client.get("/metrics").text
    assert 'litestar_diffusion_images_total{model="upscaler:demo-x2"}' in text
    assert 'phase="upscale"' in text
