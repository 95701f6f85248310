"""Pictures from pictures on a real server with the built-in model; the results are looked at."""

import base64
import hashlib
import io
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageDraw

from tests.conftest import Server
from tests.pictures import SHARED_PSNR, images_of, opened, psnr, seen_in
from tests.web.api.test_generate import PROMPT, generate, receipt_of

pytestmark = pytest.mark.dtype


def drawing() -> bytes:
    """A red disc on blue, 128 x 128."""
    image = Image.new("RGB", (128, 128), "blue")
    ImageDraw.Draw(image).ellipse((32, 32, 96, 96), fill="red")
    return saved(image)


def saved(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


def base64_of(data: bytes) -> str:
    return base64.b64encode(data).decode()


def test_a_picture_becomes_another_in_its_own_size(server: Server) -> None:
    (circle,) = images_of(generate(server))
    answer = generate(server, prompt="a green square on a white background", image=base64_of(circle), seed=3)
    seen = seen_in(images_of(answer)[0])
    assert (seen.background, seen.figures[0].colour) == ("white", "green")
    assert (answer["parameters"]["width"], answer["parameters"]["height"]) == opened(circle).size
    assert answer["parameters"]["strength"] == 0.6
    assert answer["warnings"] == []


def test_strength_decides_how_much_of_the_picture_stays(server: Server) -> None:
    (circle,) = images_of(generate(server))
    body = {"prompt": "a green square on a white background", "image": base64_of(circle), "seed": 3}
    little, much = (images_of(generate(server, **body, strength=strength))[0] for strength in (0.1, 0.9))
    assert seen_in(little).figures[0].colour == "red"
    assert psnr(little, circle) > psnr(much, circle) + 6


def test_unmasked_pixels_are_those_of_the_input(server: Server) -> None:
    mask = Image.new("L", (128, 128), 0)
    mask.paste(255, (64, 0, 128, 128))
    said = {"image": base64_of(drawing()), "mask": base64_of(saved(mask)), "strength": 1.0, "prompt": "a green square"}
    (image,) = images_of(generate(server, **said))
    made, given = (np.asarray(opened(data).convert("RGB")) for data in (image, drawing()))
    assert np.array_equal(made[:, :64], given[:, :64])
    assert not np.array_equal(made[:, 64:], given[:, 64:])


def test_the_receipt_of_a_picture_names_its_files_and_with_them_makes_the_same_bytes(server: Server) -> None:
    mask = saved(Image.new("L", (128, 128), 255))
    files = {"image": base64_of(drawing()), "mask": base64_of(mask)}
    (image,) = images_of(generate(server, **files, mask_blur_px=2, mask_content="noise", strength=0.5, seed=9))
    body = receipt_of(image)["request"]
    assert body["image_sha256"] == hashlib.sha256(drawing()).hexdigest()
    assert body["mask_sha256"] == hashlib.sha256(mask).hexdigest()
    again = generate(server, **(body | files))
    assert images_of(again) == [image]
    assert again["warnings"] == []
    refused = server.client.post("/generate/demo", json=body)
    assert refused.status_code == 400
    assert {error["field"] for error in refused.json()["errors"]} == {"image", "mask"}
    other = generate(server, **(body | files | {"image": base64_of(saved(Image.new("RGB", (128, 128))))}))
    assert any("is another file than image_sha256 says" in warning for warning in other["warnings"])


@pytest.mark.parametrize(
    ("said", "field", "message"),
    [
        ({"image": "bm8gcGljdHVyZQ=="}, "image", "is not a whole PNG"),
        ({"image": "???"}, "image", "base64"),
        ({"mask": "bm8gcGljdHVyZQ=="}, "mask", "is not a whole PNG"),
        ({"strength": 0}, "strength", "> 0"),
        ({"strength": 1.5}, "strength", "<= 1"),
        ({"image_sha256": "x"}, "image_sha256", "regex"),
    ],
)
def test_pictures_that_cannot_be_used_are_refused_by_field(
    server: Server, said: dict[str, Any], field: str, message: str
) -> None:
    answer = server.client.post("/generate/demo", json={"prompt": PROMPT, **said})
    assert answer.status_code == 400
    assert any(error["field"] == field and message in error["message"] for error in answer.json()["errors"]), (
        answer.text
    )


def test_a_strength_that_leaves_no_step_is_refused_with_the_least_one(server: Server) -> None:
    said = {"prompt": PROMPT, "image": base64_of(drawing()), "strength": 0.01, "num_inference_steps": 20}
    answer = server.client.post("/generate/demo", json=said)
    assert answer.status_code == 400
    assert "use at least 0.05" in answer.json()["errors"][0]["message"]


def test_a_mask_without_a_picture_is_refused(server: Server) -> None:
    answer = server.client.post("/generate/demo", json={"prompt": PROMPT, "mask": base64_of(drawing())})
    assert answer.status_code == 400
    assert answer.json()["errors"][0]["field"] == "image"


def test_pictures_and_texts_share_steps_and_each_is_its_own(server: Server) -> None:
    """Different sources in one batch: each is as it is alone, up to rounding."""
    bodies = [{"seed": 1}, {"seed": 2, "image": base64_of(drawing()), "strength": 0.8}, {"seed": 3, "sampler": "heun"}]
    alone = [images_of(generate(server, **body))[0] for body in bodies]
    with ThreadPoolExecutor(3) as threads:
        together = list(threads.map(lambda body: images_of(generate(server, **body))[0], bodies))
    assert all(psnr(one, other) >= SHARED_PSNR for one, other in zip(alone, together, strict=True))


def test_a_dry_run_reads_the_picture(server: Server) -> None:
    body = {"prompt": PROMPT, "image": base64_of(drawing()), "width": 64, "height": 128}
    answer = server.client.post("/generate/demo?dry_run=true", json=body).json()
    assert answer["parameters"]["strength"] == 0.6
    assert any("resized (crop) from 128 x 128 to 64 x 128" in warning for warning in answer["warnings"])
