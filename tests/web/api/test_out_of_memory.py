"""Too little memory on a real server: the image comes with savings, or a 503 says what would fit."""

from typing import Any

import pytest

from tests.conftest import ROOT, Server, StartServer
from tests.pictures import images_of
from tests.web.http.errors.test_problems import check

PROMPT = {"prompt": "a red circle on a blue background", "seed": 7, "num_inference_steps": 3}
FULL = {"LITESTAR_DIFFUSION__MODELS__DTYPE": "float32"}


def post(server: Server, accept: str = "application/json", **body: Any) -> Any:
    return server.client.post("/generate/demo", json={**PROMPT, **body}, headers={"accept": accept})


@pytest.mark.slow
def test_a_device_that_runs_out_makes_the_image_in_tiles_or_says_what_would_fit(start_server: StartServer) -> None:
    server = start_server("tests.short_of_memory:create_app", **FULL, PYTHONPATH=str(ROOT))
    server.wait_until("/health/ready")
    small = images_of(post(server, width=96, height=96).json())
    answer = post(server, width=128, height=128).json()
    assert answer["memory_savings"] == ["tiled_decode"]
    assert any("tiles" in line for line in answer["warnings"])
    raw = post(server, "image/png", width=128, height=128)
    assert raw.headers["x-memory-savings"] == "tiled_decode"
    assert raw.content == images_of(answer)[0]

    problem = check(post(server, width=192, height=128), 503, "insufficient_memory")
    assert problem["needed_nbytes"] > problem["available_nbytes"]
    assert (problem["largest_width"], problem["largest_height"]) == (128, 64)
    assert problem["memory_savings"] == ["tiled_decode"]
    assert "128 x 64" in problem["detail"]
    assert images_of(post(server, width=96, height=96).json()) == small


@pytest.mark.slow
def test_a_budget_too_small_for_a_size_allows_a_smaller_one(start_server: StartServer) -> None:
    """Nothing is injected here: the budget alone decides, before anything is allocated."""
    server = start_server(**FULL, LITESTAR_DIFFUSION__MEMORY__HOST="100000000")
    server.wait_until("/health/ready")
    assert post(server).json()["memory_savings"] == []
    problem = check(post(server, width=2048, height=2048), 503, "insufficient_memory")
    assert problem["needed_nbytes"] > problem["available_nbytes"] == 100_000_000
    assert "memory_savings" not in problem
    side = problem["largest_width"]
    assert 512 < side == problem["largest_height"] < 2048
    answer = post(server, width=768, height=768, num_inference_steps=1)
    assert answer.status_code == 200, answer.text
    assert answer.json()["memory_savings"] == ["tiled_decode"]
