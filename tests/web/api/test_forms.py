"""Pictures as files of a form, on a real server: `curl -F image=@in.png -F prompt=...`."""

import json
import socket
from typing import Any

import httpx
import pytest

from tests.conftest import Server
from tests.pictures import images_of, opened, seen_in
from tests.web.api.test_generate import generate
from tests.web.api.test_pictures import base64_of, drawing

SMALL = {"prompt": "a green square", "seed": "3", "num_inference_steps": "4"}


def sent(server: Server, path: str = "/generate/demo", **parts: Any) -> httpx.Response:
    """Send a form; bytes are files."""
    files = {name: (f"{name}.png", value) for name, value in parts.items() if isinstance(value, bytes)}
    texts = {name: value for name, value in parts.items() if not isinstance(value, bytes)}
    if not files:  # httpx makes a multipart form of files alone
        texts, files = {}, {name: (None, value) for name, value in texts.items()}
    return server.client.post(path, data=texts, files=files)


def wrong_fields(answer: httpx.Response) -> dict[str, str]:
    assert answer.status_code == 400, answer.text
    return {error["field"]: error["message"] for error in answer.json()["errors"]}


def test_a_form_and_a_json_body_of_equal_content_make_equal_images(server: Server) -> None:
    form = sent(server, image=drawing(), **SMALL, reproducible="true", strength="0.8").json()
    body = generate(
        server,
        prompt="a green square",
        image=base64_of(drawing()),
        seed=3,
        num_inference_steps=4,
        reproducible=True,
        strength=0.8,
    )
    assert images_of(form) == images_of(body)
    assert form["parameters"] == body["parameters"]
    assert opened(images_of(form)[0]).size == (128, 128)


def test_a_json_part_holds_the_parameters_beside_the_files(server: Server) -> None:
    parameters = json.dumps({"prompt": "a green square on a white background", "seed": 3, "strength": 1.0})
    answer = sent(server, image=drawing(), parameters=parameters).json()
    seen = seen_in(images_of(answer)[0])
    assert (seen.background, seen.figures[0].colour) == ("white", "green")


def test_a_job_and_a_dry_run_take_forms(server: Server) -> None:
    job = sent(server, "/jobs/demo", image=drawing(), **SMALL)
    assert job.status_code == 202
    plan = sent(server, "/generate/demo?dry_run=true", image=drawing(), **SMALL).json()
    assert (plan["parameters"]["width"], plan["parameters"]["strength"]) == (128, 0.6)


def test_a_data_url_is_base64_with_a_head(server: Server) -> None:
    plain = generate(server, prompt="x", seed=1, num_inference_steps=2, image=base64_of(drawing()))
    url = generate(
        server, prompt="x", seed=1, num_inference_steps=2, image=f"data:image/png;base64,{base64_of(drawing())}"
    )
    assert url["parameters"]["image_sha256"] == plain["parameters"]["image_sha256"]


def test_every_wrong_field_of_a_form_is_told(server: Server) -> None:
    errors = wrong_fields(sent(server, image=drawing(), prompt="x", stepz="3", width="broad"))
    assert "is not known here" in errors["stepz"]
    assert "got 'broad'" in errors["width"]
    assert "is stated twice" in wrong_fields(sent(server, prompt="x", parameters='{"prompt": "y"}'))["prompt"]
    assert "is no JSON" in wrong_fields(sent(server, parameters="{"))["parameters"]


def test_a_field_that_was_left_empty_counts_as_absent(server: Server) -> None:
    answer = sent(server, image=drawing(), **SMALL, width="", sampler="euler").json()
    assert answer["parameters"]["width"] == 128


@pytest.mark.parametrize(
    ("content_type", "body", "told"),
    [
        ("multipart/form-data", b"x", "has no boundary"),
        (
            "multipart/form-data; boundary=b",
            b'--b\r\nContent-Disposition: form-data; name="prompt"\r\n\r\nx',
            "cut short",
        ),
        ("multipart/form-data; boundary=b", b"--b\r\n\r\nx\r\n--b--\r\n", "body"),
        (
            "multipart/form-data; boundary=b",
            b"".join(b'--b\r\nContent-Disposition: form-data; name="p%d"\r\n\r\nx\r\n' % n for n in range(1000))
            + b"--b--\r\n",
            "more than 64 parts",
        ),
        (
            "multipart/form-data; boundary=b",
            b'--b\r\nContent-Disposition: form-data; name="' + b"n" * 100_000 + b'"\r\n\r\nx\r\n--b--\r\n',
            "header",
        ),
        (
            "multipart/form-data; boundary=b",
            b'--b\r\nContent-Disposition: form-data; name="image"\r\n\r\n\x89PNG\xff\xff\r\n--b--\r\n',
            "is not UTF-8 text; send a picture as a file",
        ),
        (
            "multipart/form-data; boundary=b",
            b'--b\r\nContent-Disposition: form-data; name="prompt"\r\n\r\n' + b"x" * 200_000 + b"\r\n--b--\r\n",
            "must be at most 100000 bytes long as text",
        ),
        (
            "multipart/form-data; boundary=b",
            b'--b\r\nContent-Disposition: form-data; name="prompt"\r\n\r\nx\r\n' * 2 + b"--b--\r\n",
            "is there twice",
        ),
    ],
)
def test_a_damaged_form_is_refused_with_what_is_wrong(
    server: Server, content_type: str, body: bytes, told: str
) -> None:
    answer = server.client.post("/generate/demo", content=body, headers={"content-type": content_type})
    assert answer.status_code == 400
    assert told in answer.text
    assert answer.headers["content-type"] == "application/problem+json"


def test_a_form_beyond_the_limit_is_413_before_it_is_whole(server: Server) -> None:
    head = b'--b\r\nContent-Disposition: form-data; name="image"; filename="x.png"\r\n\r\n'

    def endless() -> Any:
        yield head
        for _ in range(70):
            yield b"x" * 1_000_000

    try:
        answer = server.client.post(
            "/generate/demo", content=endless(), headers={"content-type": "multipart/form-data; boundary=b"}
        )
    except httpx.WriteError:
        return  # the server closed the connection while the client was still writing
    assert (answer.status_code, answer.json()["code"]) == (413, "body_too_large")
    assert "limits.max_upload_bytes" in answer.json()["detail"]


def test_a_client_that_leaves_in_the_middle_of_a_form_harms_no_other(server: Server) -> None:
    host, port = server.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port))) as connection:
        connection.sendall(
            b"POST /generate/demo HTTP/1.1\r\nhost: localhost\r\ncontent-length: 100000\r\n"
            b"content-type: multipart/form-data; boundary=b\r\n\r\n--b\r\n"
        )
    assert sent(server, image=drawing(), **SMALL).status_code == 200
    assert "Traceback" not in server.log.read_text()


def test_fields_that_a_browser_left_empty_count_as_absent(server: Server) -> None:
    files = {"image": ("", b"", "application/octet-stream"), "mask": ("", b"")}
    answer = server.client.post("/generate/demo", data={**SMALL, "vae": "", "width": "64", "n": ""}, files=files)
    assert answer.status_code == 200, answer.text
    assert "strength" not in answer.json()["parameters"]
    named = server.client.post("/generate/demo", data=SMALL, files={"image": ("in.png", b"")})
    assert set(wrong_fields(named)) == {"image"}
