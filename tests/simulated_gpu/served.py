"""The server on simulated devices, or on the CPU to compare with."""

import base64
import io
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from litestar import Litestar
from litestar.testing import TestClient
from PIL import Image

from litestar_diffusion import DiffusionConfig, DiffusionPlugin, Settings
from litestar_diffusion.settings import DeviceSettings, JobsSettings, MemorySettings, ModelsSettings
from tests.conftest import ROOT

PROMPT = {"prompt": "a red circle on a blue background", "seed": 7, "num_inference_steps": 4, "reproducible": True}


@contextmanager
def served(
    *devices: str, memory: MemorySettings | None = None, dtype: Any = "float32"
) -> Iterator[TestClient[Litestar]]:
    """The whole application with the built-in models; with simulated devices, call it where they are."""
    settings = Settings(
        device=DeviceSettings(names=devices, threads=1),
        memory=memory or MemorySettings(),
        models=ModelsSettings(directory=ROOT / "models", dtype=dtype),
        jobs=JobsSettings(),
    )
    with TestClient(Litestar(plugins=[DiffusionPlugin(DiffusionConfig(settings=settings))])) as client:
        yield client


def made(client: TestClient[Litestar], model: str = "demo", **stated: Any) -> list[np.ndarray[Any, Any]]:
    """The images of a request."""
    answer = client.post(f"/generate/{model}", json={**PROMPT, **stated})
    assert answer.status_code == 200, answer.text
    return pixels_of(answer.json())


def pixels_of(generated: dict[str, Any]) -> list[np.ndarray[Any, Any]]:
    """The pixels of an answer's images."""
    return [_pixels(image["image"]) for image in generated["images"]]


def picture(side_px: int = 128) -> str:
    """A PNG with some colours, in base64."""
    rows = np.linspace(0, 255, side_px).astype(np.uint8)
    image = np.stack(
        [np.tile(rows, (side_px, 1)), np.tile(rows[:, None], (1, side_px)), np.full((side_px, side_px), 90, np.uint8)],
        2,
    )
    file = io.BytesIO()
    Image.fromarray(image).save(file, "PNG")
    return base64.b64encode(file.getvalue()).decode()


def _pixels(data: str) -> np.ndarray[Any, Any]:
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(data))).convert("RGB"))
