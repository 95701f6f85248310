"""The memory manager over HTTP: books, pins, tiers, and a budget that holds one model only."""

from typing import Any

import pytest

from tests.conftest import StartServer

pytestmark = pytest.mark.dtype

PROMPT = {"prompt": "a red circle on a blue background", "seed": 7, "num_inference_steps": 2}


def image(server: Any, model: str) -> tuple[str, str]:
    answer = server.client.post(f"/generate/{model}", json=PROMPT)
    assert answer.status_code == 200, answer.text
    return answer.json()["images"][0]["image"], answer.json()["residency"]


@pytest.mark.slow
def test_two_models_take_turns_in_memory_for_one_and_paint_the_same(
    start_server: StartServer, one_model: dict[str, str]
) -> None:
    server = start_server(**one_model)
    server.wait_until("/health/ready")
    first = {model: image(server, model) for model in ("demo", "demo-vpred")}
    for _ in range(3):
        for model, (painted, _) in first.items():
            assert image(server, model) == (painted, "cold")
    pool = server.client.get("/pool").json()
    assert (
        pool["host"]["weights_nbytes"]
        <= pool["host"]["limit_nbytes"]
        == int(one_model["LITESTAR_DIFFUSION__MEMORY__HOST"])
    )
    assert {one["name"]: one["loads"] for one in pool["models"]} == {"demo": 4, "demo-vpred": 4}
    assert {"unet", "vae", "text_encoder", "text_encoder_2"} == {one["name"] for one in pool["components"]}
    reasons = {one["facts"].get("reason") for one in pool["decisions"] if one["what"] == "model_unloaded"}
    assert reasons == {"to make room for demo", "to make room for demo-vpred"}

    assert server.client.post("/models/demo-vpred/pin").json()["pinned"] is True
    refused = server.client.post("/generate/demo", json=PROMPT)
    assert (refused.status_code, refused.json()["code"]) == (503, "insufficient_memory")
    assert server.client.post("/models/demo-vpred/unpin").json()["pinned"] is False
    assert image(server, "demo") == first["demo"]
    assert server.client.post("/models/demo/unload").json()["was"] == "device"
    assert server.client.post("/models/demo/load?tier=host").status_code == 200
    assert server.client.post("/models/demo/load?tier=moon").status_code == 400
