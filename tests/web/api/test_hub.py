"""A repository on the Hub behind `POST /generate/{model}`: a real server, the real client, a stand-in of the Hub."""

import json
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Server, free_port, running_server
from tests.hub_stand_in import HubStandIn, running
from tests.pictures import images_of, seen_in
from tests.pipelines import put_demo_pipeline

BODY = {"prompt": "a red circle on a blue background", "seed": 7}
UNET = "unet/diffusion_pytorch_model.safetensors"
VAE = "vae/diffusion_pytorch_model.safetensors"
DEFAULTS = "width = 128\nheight = 128\nnum_inference_steps = 14\nguidance_scale = 3.0"
SETTINGS = f"""
[models]
builtin = false
default = ""
[[models.hub]]
name = "good"
repo = "someone/sdxl"
{DEFAULTS}
[[models.hub]]
name = "bare"
repo = "someone/bare"
[[models.hub]]
name = "no-such-repository"
repo = "someone/else"
[[models.hub]]
name = "no-such-revision"
repo = "someone/sdxl"
revision = "v2"
[[models.hub]]
name = "unreachable"
repo = "someone/third"
"""


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HubStandIn]:
    with running(HubStandIn(put_demo_pipeline(tmp_path_factory.mktemp("hub") / "repository"))) as stand_in:
        yield stand_in


@contextmanager
def started(folder: Path, endpoint: str) -> Iterator[Server]:
    """Start a server that looks for the Hub at an endpoint, and has an empty cache."""
    (folder / "settings.toml").write_text(f'{SETTINGS}\n[hub]\ncache = "{folder / "cache"}"\n')
    environment = {
        "LITESTAR_DIFFUSION_SETTINGS": str(folder / "settings.toml"),
        "LITESTAR_DIFFUSION__MODELS__HUB_ENABLED": "true",
        "HF_ENDPOINT": endpoint,
        "HF_TOKEN": "",
        "HF_HOME": str(folder / "home"),
        "NO_PROXY": "127.0.0.1",
    }
    with running_server(folder, environment) as server:
        yield server


@pytest.fixture(scope="module")
def server(hub: HubStandIn, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One server for the tests of this module, the first of which finds its cache empty."""
    with started(tmp_path_factory.mktemp("server"), hub.endpoint) as ready:
        yield ready


def ask(server: Server, model: str) -> Any:
    return server.client.post(f"/generate/{model}", json=BODY)


def until(seen: Callable[[], Any], timeout_s: float = 120) -> Any:
    deadline = time.monotonic() + timeout_s
    while not (found := seen()):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return found


def downloaded_nbytes(server: Server) -> int:
    loading = server.client.get("/models/good").json()["loading"]
    return loading["done_nbytes"] if loading and loading["phase"] == "download" else 0


def logged(server: Server, event: str) -> list[dict[str, Any]]:
    lines = (json.loads(line) for line in server.log_with(f'"event":"{event}"').splitlines() if line.startswith("{"))
    return [line for line in lines if line["event"] == event]


def test_the_first_request_downloads_and_makes_the_picture_and_the_second_finds_it_there(
    hub: HubStandIn, server: Server
) -> None:
    listed = server.client.get("/models/good").json()
    assert (listed["source"], listed["size_nbytes"], listed["residency"]) == ("hub", None, "cold")
    assert hub.received == [], "nothing is asked of the Hub before the first request"

    hub.held = {UNET: threading.Event(), VAE: threading.Event()}
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(ask, server, "good")
        some = until(lambda: downloaded_nbytes(server))
        assert server.client.get("/models/good").json()["loading"]["total_nbytes"] > some
        hub.held[VAE].set()
        until(lambda: downloaded_nbytes(server) > some)
        assert not first.done()
        hub.held[UNET].set()
        answer = first.result()
    assert answer.status_code == 200, answer.text
    assert answer.json()["residency"] == "cold"
    seen = seen_in(images_of(answer.json())[0])
    assert (seen.background, seen.figures[0].colour) == ("blue", "red")
    assert len(logged(server, "download_done")) == 1

    hub.received.clear()
    again = ask(server, "good").json()
    assert again["residency"] == "hot"
    assert images_of(again) == images_of(answer.json())
    assert hub.received == [], "what is in memory asks nothing of the Hub"
    assert server.client.get("/models/good").json()["size_nbytes"] > 0


def test_what_the_hub_does_not_deliver_is_502_with_what_to_do_and_harms_nobody(hub: HubStandIn, server: Server) -> None:
    refusals = {"no-such-repository": ("someone/else", "HF_TOKEN"), "no-such-revision": ("'v2'", "`revision`")}
    for model, named in refusals.items():
        check_refused(ask(server, model), *named)
    hub.forbidden = True
    check_refused(ask(server, "unreachable"), "someone/third", "HF_TOKEN")
    assert server.client.get("/models/unreachable").json()["usable"], "another time it may be there"
    hub.forbidden = False
    assert ask(server, "good").status_code == 200


def check_refused(answer: Any, *named: str) -> None:
    assert answer.status_code == 502, answer.text
    problem = answer.json()
    assert problem["code"] == "download_failed"
    assert [part for part in named if part not in problem["detail"]] == []


@pytest.mark.slow
def test_a_hub_that_is_not_there_is_502_with_what_to_do(tmp_path: Path) -> None:
    with started(tmp_path, f"http://127.0.0.1:{free_port()}") as server:
        check_refused(ask(server, "good"), "someone/sdxl", "HF_ENDPOINT")


def test_equal_bodies_make_equal_images_from_the_first_request_on(
    hub: HubStandIn, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The files hold the defaults, so a request is resolved after they were fetched."""
    monkeypatch.setattr(hub, "repo", "someone/bare")
    told = server.client.post("/generate/bare?dry_run=true", json=BODY).json()
    assert any("has not been downloaded yet" in warning for warning in told["warnings"])
    first, second = ask(server, "bare").json(), ask(server, "bare").json()
    assert first["parameters"] == second["parameters"]
    assert (first["parameters"]["width"], first["parameters"]["height"]) == (128, 128), "as its UNet was trained"
    assert images_of(first) == images_of(second)
    again = server.client.post("/generate/bare?dry_run=true", json=BODY).json()
    assert again["parameters"] == first["parameters"]
    assert again["warnings"] == []
