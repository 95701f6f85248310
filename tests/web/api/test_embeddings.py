"""Embeddings on the wire: listed in each API, used by name, named in receipts."""

import io
import json
from typing import Any

import httpx
import numpy as np
from PIL import Image

from tests.conftest import Server

PROMPT = "a turquoise square on a pink background"
PNG = {"accept": "image/png"}


def post(server: Server, **body: Any) -> httpx.Response:
    answer = server.client.post("/generate/demo", json={"prompt": PROMPT, "seed": 3, **body}, headers=PNG)
    answer.raise_for_status()
    return answer


def test_lists_tell_what_there_is(server: Server) -> None:
    (listed,) = server.client.get("/embeddings").json()
    assert (listed["name"], listed["family"], listed["vectors"], listed["widths"]) == ("turquoise", "sdxl", 1, [64, 96])
    assert listed["builtin"]
    assert server.client.get("/").json()["embeddings"] == ["turquoise"]
    theirs = server.client.get("/sdapi/v1/embeddings").json()
    assert theirs["skipped"] == {}
    assert (theirs["loaded"]["turquoise"]["vectors"], theirs["loaded"]["turquoise"]["shape"]) == (1, 96)
    assert server.client.post("/sdapi/v1/refresh-embeddings").status_code == 200


def test_a_receipt_names_it_and_replays_to_the_same_bytes(server: Server) -> None:
    data = post(server, reproducible=True).content
    with Image.open(io.BytesIO(data)) as picture:
        receipt = json.loads(picture.info["litestar-diffusion"])
        pixels = np.asarray(picture.convert("RGB")).astype(int)
    assert (np.abs(pixels - (20, 175, 165)).sum(axis=2) < 90).mean() > 0.15
    (listed,) = server.client.get("/embeddings").json()
    assert receipt["request"]["embeddings"] == {"turquoise": listed["sha256"]}
    again = server.client.post("/generate/demo", json=receipt["request"], headers=PNG)
    assert again.content == data


def test_a_dry_run_shows_the_schedule_of_prompts(server: Server) -> None:
    body = {
        "prompt": "[a red circle:a turquoise circle:0.5] AND a blue square :0.5",
        "num_inference_steps": 10,
    }
    answer = server.client.post("/generate/demo?dry_run=true", json=body).json()
    (prompt,) = answer["prompts"]
    assert [
        (text["part"], text["weight"], text["first_step"], text["last_step"], text["text"])
        for text in prompt["schedule"]
    ] == [
        (1, 1.0, 1, 5, "a red circle"),
        (1, 1.0, 6, 10, "a turquoise circle"),
        (2, 0.5, 1, 10, "a blue square"),
    ]
    assert all(text["tokens"] == 3 for text in prompt["schedule"])
    assert answer["warnings"] == []


def test_too_many_texts_are_a_400_with_the_limit(server: Server) -> None:
    options = "|".join(map(str, range(40)))
    answer = server.client.post("/generate/demo", json={"prompt": f"[{options}]", "num_inference_steps": 100})
    assert answer.status_code == 400
    (error,) = answer.json()["errors"]
    assert error["field"] == "prompt"
    assert "limits.max_conditionings" in error["message"]
