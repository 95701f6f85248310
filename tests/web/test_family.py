"""A second family beside SDXL: recognised, listed, resolved and drawn by the real engine."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from litestar.testing import TestClient

from litestar_diffusion import Settings
from litestar_diffusion.asgi import create_app
from litestar_diffusion.domain.families import registry
from litestar_diffusion.settings import ModelsSettings
from tests.headers import sparse_file
from tests.pictures import images_of, opened


@pytest.fixture
def client(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[TestClient[Any]]:
    monkeypatch.setattr(registry, "FAMILIES", [*registry.FAMILIES, "tests.toy.family:TOY"])
    sparse_file(tmp_path / "red.safetensors", {"toy.colour": (3,)})
    settings = Settings(models=ModelsSettings(directory=str(tmp_path), default=None, hub_enabled=False))
    with TestClient(create_app(settings), base_url="http://127.0.0.1") as client:
        yield client


def test_a_second_family_is_one_package_and_one_line(client: TestClient[Any]) -> None:
    listed = {model["name"]: model for model in client.get("/models").json()}
    assert (listed["red"]["usable"], listed["red"]["traits"]["family"]) == (True, "toy")
    assert listed["demo"]["traits"]["family"] == "sdxl"

    answer = client.post("/generate/red", json={"prompt": "red", "seed": 200})
    assert answer.status_code == 200, answer.text
    parameters = answer.json()["parameters"]
    assert (parameters["width"], parameters["height"], parameters["num_inference_steps"]) == (65, 65, 1)
    picture = opened(images_of(answer.json())[0])
    assert [picture.getpixel((x, 30)) for x in (0, 32, 64)] == [(0, 0, 0), (100, 0, 0), (200, 0, 0)]

    small = {"prompt": "a red circle", "num_inference_steps": 1, "width": 64, "height": 64}
    assert client.post("/generate/demo", json=small).status_code == 200
    refused = client.post("/generate/demo", json={**small, "width": 65}).json()
    assert "SDXL sizes are multiples of 8" in refused["errors"][0]["message"]
