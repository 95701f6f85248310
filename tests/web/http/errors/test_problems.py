"""Every error is a problem document for strangers, and costs no other request anything."""

import inspect
from typing import Any

import httpx
import pytest

from litestar_diffusion.domain import errors
from litestar_diffusion.domain.errors import DiffusionError
from litestar_diffusion.web.http.errors.problems import HTTP_STATUS
from tests.conftest import Server


def post(server: Server, body: Any = None, *, model: str = "demo", **options: Any) -> httpx.Response:
    return server.client.post(f"/generate/{model}", json=body, **options)


def check(answer: httpx.Response, status: int, code: str) -> dict[str, Any]:
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"].startswith("application/problem+json")
    problem = answer.json()
    assert (problem["status"], problem["code"]) == (status, code)
    assert problem["instance"] == answer.headers["x-request-id"]
    assert problem["detail"]
    return problem


def test_every_error_of_the_domain_has_a_status() -> None:
    tree = {kind for _, kind in inspect.getmembers(errors, inspect.isclass) if issubclass(kind, DiffusionError)} - {
        DiffusionError
    }
    assert tree == set(HTTP_STATUS)


def test_codes_are_unique() -> None:
    codes = [kind.code for kind in HTTP_STATUS]
    assert len(codes) == len(set(codes))


def test_every_wrong_field_is_named_at_once(server: Server) -> None:
    body = {"prompt": 5, "guidance_scale": "much", "seed": -2, "n": 0, "output_format": "gif", "steps": 3}
    problem = check(post(server, body), 400, "invalid_request")
    assert {error["field"] for error in problem["errors"]} == set(body)


def test_a_misspelt_field_gets_a_hint(server: Server) -> None:
    problem = check(post(server, {"prompt": "x", "guidance": 3}), 400, "invalid_request")
    assert "guidance_scale" in problem["errors"][0]["message"]


def test_every_broken_limit_is_named_at_once(server: Server) -> None:
    body = {
        "prompt": "x" * 5000,
        "width": 130,
        "height": 8000,
        "n": 99,
        "num_inference_steps": 1000,
        "sampler": "nope",
    }
    problem = check(post(server, body), 400, "invalid_request")
    assert {error["field"] for error in problem["errors"]} == set(body)
    width = next(error["message"] for error in problem["errors"] if error["field"] == "width")
    assert "multiples of 8" in width
    assert "128" in width
    assert "136" in width


def test_every_wrong_field_is_named_once(server: Server) -> None:
    body = {"seed": "x", "n": "y", "height": None, "sampler": 5, "stpes": 3}
    problem = check(post(server, body), 400, "invalid_request")
    named = [error["field"] for error in problem["errors"]]
    assert sorted(named) == ["n", "prompt", "sampler", "seed", "stpes"], "null is as good as absent"


@pytest.mark.parametrize("path", ["/generate/demo", "/jobs/demo"])
def test_thousands_of_unknown_keys_get_a_short_answer_and_hold_nothing_up(server: Server, path: str) -> None:
    body = {f"key{index:05}": 1 for index in range(60_000)}
    answer = server.client.post(path, json=body)
    problem = check(answer, 400, "invalid_request")
    assert len(problem["errors"]) == 21
    assert "59981 more" in problem["errors"][-1]["message"]
    assert len(answer.content) < 64_000


@pytest.mark.parametrize("field", ["width", "height", "n", "num_inference_steps", "seed"])
@pytest.mark.parametrize("headers", [{}, {"idempotency-key": "k"}])
def test_numbers_beyond_64_bits_are_refused(server: Server, field: str, headers: dict[str, str]) -> None:
    for path in ("/generate/demo", "/jobs/demo"):
        answer = server.client.post(path, json={"prompt": "x", field: 2**64}, headers=headers)
        assert check(answer, 400, "invalid_request")["errors"][0]["field"] == field


def test_what_the_accept_header_forbids_is_named(server: Server) -> None:
    answer = post(server, {"prompt": "x", "n": 2}, headers={"accept": "image/png"})
    assert [error["field"] for error in check(answer, 400, "invalid_request")["errors"]] == ["n"]


def test_a_missing_prompt_is_named(server: Server) -> None:
    problem = check(post(server, {}), 400, "invalid_request")
    assert problem["errors"] == [{"field": "prompt", "message": "is required"}]


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'"text"', b"null", b"\xff\xfe", b"[" * 5000])
def test_a_body_that_is_no_object_is_refused(server: Server, body: bytes) -> None:
    answer = server.client.post("/generate/demo", content=body, headers={"content-type": "application/json"})
    check(answer, 400, "invalid_request")


def test_an_unknown_model_gets_the_names_that_exist(server: Server) -> None:
    problem = check(post(server, {"prompt": "x"}, model="nope"), 404, "unknown_model")
    assert "demo" in problem["available"]


@pytest.mark.parametrize("name", ["..%2F..%2Fetc%2Fpasswd", "%2e%2e", "demo.safetensors", "demo%00", "a" * 5000])
def test_no_client_string_becomes_a_path(server: Server, name: str) -> None:
    answer = post(server, {"prompt": "x"}, model=name)
    assert answer.status_code in (404, 414, 400)
    assert "root:" not in answer.text


def test_a_wrong_path_and_a_wrong_method_are_problems_too(server: Server) -> None:
    check(server.client.get("/nothing/here"), 404, "not_found")
    check(server.client.get("/generate/demo"), 405, "method_not_allowed")


def test_a_body_that_is_too_large_is_refused(server: Server) -> None:
    check(post(server, {"prompt": "x" * 33_000_000}), 413, "body_too_large")


def test_a_body_that_is_not_json_is_refused(server: Server) -> None:
    answer = server.client.post("/generate/demo", content=b"<x/>", headers={"content-type": "application/xml"})
    check(answer, 415, "unsupported_media_type")


def test_after_all_this_the_server_still_makes_images(server: Server) -> None:
    assert post(server, {"prompt": "a red circle on a blue background"}).status_code == 200
