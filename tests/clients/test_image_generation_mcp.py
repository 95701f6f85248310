"""The web UI client of image-generation-mcp makes a picture on a live server, and follows its progress."""

import asyncio
import dataclasses
from typing import Any

import pytest

from tests.conftest import Server
from tests.pictures import seen_in

sd_webui = pytest.importorskip(
    "image_generation_mcp.providers.sd_webui", reason="uv run --group clients pytest tests/clients"
)


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """The client has one size and one number of steps for each kind of model; those of the demo models are smaller."""
    preset = dataclasses.replace(sd_webui._SD15_PRESET, sizes={"1:1": (128, 128)}, steps=40, cfg_scale=3.0)
    monkeypatch.setattr(sd_webui, "_SD15_PRESET", preset)
    monkeypatch.setattr(sd_webui, "_PROGRESS_POLL_INTERVAL", 0.01)


@pytest.mark.usefixtures("small")
def test_it_finds_the_models_and_makes_a_picture(server: Server) -> None:
    reports: list[float] = []

    async def main() -> Any:
        provider = sd_webui.SdWebuiImageProvider(server.url)
        try:
            found = await provider.discover_capabilities()
            assert not found.degraded
            assert "demo" in [model.model_id for model in found.models]
            return await provider.generate(
                "a red circle on a blue background",
                model="demo",
                progress_callback=lambda fraction, _message: reports.append(fraction),
            )
        finally:
            await provider.aclose()

    made = asyncio.run(main())
    assert seen_in(made.image_data).background == "blue"
    assert isinstance(made.provider_metadata["seed"], int)
    assert max(reports) > 0
