"""sd-backend-client, which validates every answer strictly, drives a live server."""

from collections.abc import Iterator
from typing import Any

import pytest

from tests.conftest import Server
from training.reading import read_picture

client = pytest.importorskip("sd_backend_client", reason="uv run --group clients pytest tests/clients")


@pytest.fixture
def webui(server: Server) -> Iterator[Any]:
    webui = client.A1111Webservice(server.url)
    yield webui
    webui.disconnect()


def body(steps: int = 14, **fields: Any) -> Any:
    return client.DiffusionRequestBody(
        prompt="a green star on a yellow background",
        negative_prompt="",
        width=128,
        height=128,
        steps=steps,
        seed=3,
        sampler="Euler",
        cfg_scale=3.0,
        **fields,
    )


def test_it_recognises_the_server(server: Server) -> None:
    found = client.connect_to_backend(server.url)
    assert isinstance(found, client.A1111Webservice)
    found.disconnect()


def test_a_picture_shows_its_prompt(webui: Any) -> None:
    made = webui.txt2img(body())
    seen = read_picture(made["images"][0])
    assert (seen.background, seen.figures[0].shape) == ("yellow", "star")
    assert made["info"].all_seeds == [3]


def test_a_submitted_picture_reports_progress(webui: Any) -> None:
    reports: list[Any] = []
    result = webui.submit_txt2img(body(steps=40)).wait(60, poll_interval=0.02, on_progress=reports.append)
    assert read_picture(result.images[0]).background == "yellow"
    assert reports


def test_every_list_is_as_the_web_ui_writes_it(webui: Any) -> None:
    assert "demo" in [model.model_name for model in webui.get_models()]
    assert "Euler a" in [sampler.name for sampler in webui.get_samplers()]
    assert "karras" in [option.name for option in webui.list_schedulers()]
    assert [upscaler.name for upscaler in webui.get_upscalers()] == ["None", "Lanczos", "demo-x2"]
    assert (webui.get_vae(), webui.get_styles(), webui.get_script_info()) == ([], [], [])
    assert "outline" in [lora.name for lora in webui.get_loras()]
    assert webui.get_hypernetworks() == []
    assert "Latent (bicubic)" in webui.get_latent_upscale_modes()
    assert webui.get_scripts().txt2img == []
    assert webui.progress_check().progress == 0
    capabilities = webui.get_capabilities()
    assert (capabilities.controlnet, capabilities.scheduler, capabilities.interrogate) == (False, True, False)
    for refresh in (webui.refresh_checkpoints, webui.refresh_vae, webui.refresh_loras):
        assert refresh().status_code == 200
    webui.set_config(webui.get_config())
