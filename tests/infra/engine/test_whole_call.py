"""A family whose pipeline cannot be stepped: what its one call may do wrong costs its own request, and nothing else."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from litestar.testing import TestClient

from litestar_diffusion import Settings
from litestar_diffusion.asgi import create_app
from litestar_diffusion.domain.families import registry
from litestar_diffusion.domain.requests.rendering import RawImage
from litestar_diffusion.domain.requests.request import GenerationRequest
from litestar_diffusion.settings import ModelsSettings
from tests.headers import sparse_file
from tests.toy import runtime

BODY = {"prompt": "red", "seed": 1}


@pytest.fixture
def client(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[TestClient[Any]]:
    monkeypatch.setattr(registry, "FAMILIES", ["tests.toy.family:TOY"])
    sparse_file(tmp_path / "red.safetensors", {"toy.colour": (3,)})
    settings = Settings(models=ModelsSettings(directory=str(tmp_path), default=None, hub_enabled=False))
    with TestClient(create_app(settings), base_url="http://127.0.0.1") as client:
        yield client


@pytest.mark.parametrize("made", [0, 1, 3])
def test_another_number_of_images_than_asked_for_is_an_error(
    client: TestClient[Any], monkeypatch: pytest.MonkeyPatch, made: int
) -> None:
    draw = runtime.draw
    monkeypatch.setattr(runtime, "draw", lambda request: [draw(request)[0]] * made)
    answer = client.post("/generate/red", json={**BODY, "n": 2})
    assert (answer.status_code, answer.json()["code"]) == (500, "generation_failed")

    monkeypatch.setattr(runtime, "draw", draw)
    assert len(client.post("/generate/red", json={**BODY, "n": 2}).json()["images"]) == 2


def test_an_out_of_memory_in_the_call_is_tried_again_with_less(
    client: TestClient[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[GenerationRequest] = []
    draw = runtime.draw

    def short_of_memory(request: GenerationRequest) -> Sequence[RawImage]:
        calls.append(request)
        if len(calls) == 1:
            raise torch.OutOfMemoryError("injected")
        return draw(request)

    monkeypatch.setattr(runtime, "draw", short_of_memory)
    answer = client.post("/generate/red", json={**BODY, "guidance_scale": 5})  # so that there is something to save
    assert answer.status_code == 200, answer.text
    assert len(calls) == 2


def test_memory_that_never_suffices_ends_in_an_error_that_names_it(
    client: TestClient[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def short_of_memory(request: GenerationRequest) -> Sequence[RawImage]:
        raise torch.OutOfMemoryError("injected")

    monkeypatch.setattr(runtime, "draw", short_of_memory)
    answer = client.post("/generate/red", json=BODY)
    assert (answer.status_code, answer.json()["code"]) == (503, "insufficient_memory")
