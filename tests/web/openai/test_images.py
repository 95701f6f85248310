"""The dialect over the wire, without the SDK."""

import json

from tests.conftest import Server
from tests.web.api.test_pictures import drawing


def test_unknown_fields_are_named_in_a_header_and_nothing_else_is_changed(server: Server) -> None:
    body = {"model": "demo", "prompt": "x", "num_inference_steps": 1, "user": "me", "style": "vivid", "odd": [1, 2]}
    answer = server.client.post("/v1/images/generations", json=body)
    assert answer.status_code == 200
    assert "user, style, odd" in answer.headers["x-warnings"]
    assert (
        "x-warnings" not in server.client.post("/v1/images/generations", json={"model": "demo", "prompt": "x"}).headers
    )


def test_two_requests_without_a_seed_give_two_pictures(server: Server) -> None:
    body = {"model": "demo", "prompt": "x", "num_inference_steps": 1}
    one, two = (server.client.post("/v1/images/generations", json=body).json()["data"][0] for _ in range(2))
    assert one["b64_json"] != two["b64_json"]


def test_the_default_model_is_used_without_a_name(server: Server) -> None:
    answer = server.client.post("/v1/images/generations", json={"prompt": "x", "num_inference_steps": 1})
    assert answer.status_code == 200
    assert set(answer.json()) == {"created", "data", "background", "output_format", "quality", "size", "usage"}


def test_what_is_no_json_is_an_error_in_openais_shape(server: Server) -> None:
    for content in (b"", b"no json", b"[]", b'{"prompt": 1}'):
        answer = server.client.post("/v1/images/generations", content=content)
        assert answer.status_code == 400
        assert set(answer.json()["error"]) == {"message", "type", "param", "code"}
        assert answer.headers["x-request-id"]


def test_a_stream_ends_with_done(server: Server) -> None:
    body = {"model": "demo", "prompt": "x", "stream": True, "num_inference_steps": 2}
    answer = server.client.post("/v1/images/generations", json=body)
    assert answer.headers["content-type"].startswith("text/event-stream")
    events = [line.removeprefix("data: ") for line in answer.text.splitlines() if line.startswith("data: ")]
    assert json.loads(events[0])["type"] == "image_generation.completed"
    assert events[-1] == "[DONE]"


def test_an_edit_is_a_form_with_files(server: Server) -> None:
    texts = {"model": "demo", "prompt": "a green square", "seed": "3", "size": "64x64", "num_inference_steps": "4"}
    files = {"image[]": ("in.png", drawing(), "image/png")}
    answer = server.client.post("/v1/images/edits", data={**texts, "input_fidelity": "high"}, files=files)
    assert answer.status_code == 200, answer.text
    assert (answer.json()["size"], "input_fidelity" in answer.headers["x-warnings"]) == ("64x64", True)
    refused = server.client.post("/v1/images/edits", data=texts, files=[*files.items(), *files.items()])
    assert (refused.status_code, refused.json()["error"]["param"]) == (400, "image")
    missing = server.client.post("/v1/images/edits", json={"prompt": "x"})
    assert (missing.status_code, missing.json()["error"]["param"]) == (400, "image")


def test_wrong_fields_are_named_as_the_client_sent_them(server: Server) -> None:
    def param(**fields: object) -> str:
        body = {"model": "demo", "prompt": "x", **fields}
        answer = server.client.post("/v1/images/generations", json=body)
        assert answer.status_code == 400, answer.text
        return answer.json()["error"]["param"]

    assert (param(size="65x64"), param(size="64x65"), param(num_inference_steps=999)) == (
        "size", "size", "num_inference_steps",
    )  # fmt: skip


def test_an_address_of_no_file_says_how_long_addresses_are_good(server: Server) -> None:
    answer = server.client.get("/v1/images/files/none.png")
    assert answer.status_code == 404
    assert "good for an hour" in answer.json()["error"]["message"]
