"""The LoRA that ships, by its name in requests to a real server: pixels show it, and the model is as before afterwards."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

from tests.conftest import Server
from tests.pictures import images_of, opened
from training.reading import nearest_colour

pytestmark = pytest.mark.dtype

PROMPT = "a red circle on a white background"


def middle(answer: dict[str, Any]) -> str:
    """Colour of the middle of the first picture."""
    pixels = np.asarray(opened(images_of(answer)[0]))
    return nearest_colour(pixels[60:68, 60:68].reshape(-1, 3).mean(axis=0))


def generate(server: Server, **body: Any) -> dict[str, Any]:
    answer = server.client.post("/generate/demo", json={"prompt": PROMPT, "seed": 3, **body})
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_a_circle_is_hollow_with_it_and_filled_without_it(server: Server) -> None:
    before = generate(server)
    by_field = generate(server, adapters=[{"name": "outline"}])
    by_tag = generate(server, prompt=f"{PROMPT} <lora:outline:1>")
    assert middle(before) == "red"
    assert middle(by_field) == middle(by_tag) == "white"
    assert images_of(generate(server)) == images_of(before)


def test_requests_with_different_weights_of_it_share_steps(server: Server) -> None:
    with ThreadPoolExecutor(4) as pool:
        weights = [0, 1, 0, 1]
        answers = list(
            pool.map(lambda weight: generate(server, adapters=[{"name": "outline", "weight": weight}]), weights)
        )
    assert [middle(answer) for answer in answers] == ["red", "white", "red", "white"]
