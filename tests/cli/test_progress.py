"""What a person at a terminal sees while a model is downloaded: a real process on a pseudo-terminal."""

import os
import pty
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.hub_stand_in import HubStandIn, running
from tests.pipelines import put_demo_pipeline

UNET = "unet/diffusion_pytorch_model.safetensors"
SETTINGS = """
[models]
builtin = false
[[models.hub]]
name = "good"
repo = "someone/sdxl"
[hub]
cache = "{cache}"
"""


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[HubStandIn]:
    with running(HubStandIn(put_demo_pipeline(tmp_path / "repository"))) as stand_in:
        yield stand_in


def test_a_download_shows_a_bar_that_grows_and_goes_away(hub: HubStandIn, tmp_path: Path) -> None:
    (tmp_path / "settings.toml").write_text(SETTINGS.format(cache=tmp_path / "cache"))
    hub.held = {UNET: threading.Event()}
    said = ""
    for piece in _on_terminal(hub, tmp_path, "pull", "good"):
        said += piece
        if re.search(r"Downloading .*?\b2\d %", said):
            hub.held[UNET].set()  # the rest of the files is here
    assert hub.held[UNET].is_set(), said
    assert "Traceback" not in said
    assert said.endswith("\x1b[1A\x1b[2K"), "its line is erased"


def _on_terminal(hub: HubStandIn, folder: Path, *arguments: str) -> Iterator[str]:
    """Run the command line with a terminal for its standard error; yields what appears there."""
    ours, theirs = pty.openpty()
    environment = {
        "HF_ENDPOINT": hub.endpoint,
        "HF_TOKEN": "",
        "HF_HOME": str(folder / "home"),
        "NO_PROXY": "127.0.0.1",
    }
    process = subprocess.Popen(
        [sys.executable, "-m", "litestar_diffusion", *arguments],
        cwd=folder,
        stderr=theirs,
        env={**os.environ, "TERM": "xterm", "COLUMNS": "120", **environment},
    )
    os.close(theirs)
    try:
        while piece := _read(ours):
            yield piece.decode(errors="replace")
        assert process.wait(60) == 0
    finally:
        os.close(ours)
        process.kill()
        process.wait()


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 4096)
    except OSError:  # how Linux says that the other end is closed
        return b""
