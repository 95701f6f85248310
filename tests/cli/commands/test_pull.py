"""`pull` downloads from the Hub before a model is needed: the real client, over real HTTP, from a stand-in."""

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from litestar_diffusion.cli.commands.pull import pull
from litestar_diffusion.infra.hub import fetcher
from tests.hub_stand_in import HubStandIn, running
from tests.pipelines import put_demo_pipeline

Run = Callable[..., Result]
UNET = "unet/diffusion_pytorch_model.safetensors"


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[HubStandIn]:
    with running(HubStandIn(put_demo_pipeline(tmp_path / "repository"))) as stand_in:
        yield stand_in


@pytest.fixture
def settings(tmp_path: Path) -> Path:
    file = tmp_path / "settings.toml"
    file.write_text(f'[hub]\ncache = "{tmp_path / "cache"}"\n[[models.hub]]\nname = "good"\nrepo = "someone/sdxl"\n')
    return file


@pytest.fixture
def run(hub: HubStandIn, settings: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    ours = fetcher.HubFetcher
    monkeypatch.setattr(fetcher, "HubFetcher", lambda **stated: ours(**stated, endpoint=hub.endpoint))
    monkeypatch.setattr("litestar_diffusion.infra.telemetry.logs.logging.configure_logging", lambda *_: None)

    def invoke(*arguments: str) -> Result:
        return CliRunner().invoke(pull, [*arguments, "--settings", str(settings)])

    return invoke


def test_a_model_of_the_settings_is_downloaded_once_and_its_folder_is_printed(hub: HubStandIn, run) -> None:
    done = run("good")
    assert done.exit_code == 0, done.output
    folder = Path(done.stdout.strip())
    assert (folder / UNET).stat().st_size == hub.files()[UNET].stat().st_size
    hub.received.clear()
    assert Path(run("good").stdout.strip()) == folder
    assert hub.received == [], "it is there"


def test_a_repository_of_no_settings_is_downloaded_with_what_to_add_to_them(hub: HubStandIn, run) -> None:
    hub.repo = "another/xl"
    done = run("another/xl")
    assert done.exit_code == 0, done.output
    assert '[[models.hub]]\nname = "xl"\nrepo = "another/xl"' in done.stderr


def test_a_download_that_was_killed_goes_on_in_the_middle_of_its_file(
    hub: HubStandIn, run: Run, settings: Path, tmp_path: Path
) -> None:
    content = os.urandom(25_000_000)  # the client writes pieces of 10 MiB
    (hub.folder / UNET).write_bytes(content)
    hub.stalled[UNET] = threading.Event()
    process = subprocess.Popen(
        [sys.executable, "-m", "litestar_diffusion", "pull", "good", "--settings", str(settings)],
        env={**os.environ, "HF_ENDPOINT": hub.endpoint},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    blobs = tmp_path / "cache" / "models--someone--sdxl" / "blobs"
    try:
        there = until(lambda: next((size for size in sizes(blobs) if size > 10_000_000), None))
    finally:
        process.kill()
        process.wait()
        hub.stalled.pop(UNET).set()
    hub.received.clear()
    done = run("good")
    assert done.exit_code == 0, done.output
    assert [each.start for each in hub.received if each.method == "GET" and each.path.endswith(UNET)] == [there]
    assert (Path(done.stdout.strip()) / UNET).read_bytes() == content
    assert list(blobs.glob("*.incomplete")) == []


def sizes(blobs: Path) -> list[int]:
    return [path.stat().st_size for path in blobs.glob("*.incomplete")]


def until(found: Callable[[], int | None]) -> int:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        if (value := found()) is not None:
            return value
        time.sleep(0.02)
    raise TimeoutError


def test_what_the_hub_refuses_and_names_that_there_are_not_are_told_with_what_to_do(hub: HubStandIn, run) -> None:
    told = run("nope")
    assert told.exit_code == 1
    assert "`litestar-diffusion models` lists" in told.output
    hub.gated = True
    refused = run("good")
    assert refused.exit_code == 1
    assert "HF_TOKEN" in str(refused.exception)
