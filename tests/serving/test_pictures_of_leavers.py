"""Pictures of a request whose client has left are gone at once, and not when the garbage collector looks."""

import base64
import gc
import json
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import pytest

from litestar_diffusion.settings import ServerSettings
from tests.load.uploads import noise
from tests.serving.running import hold, let_go, request, running, wait_until

CLIENTS, RUNNING, LAST = 8, 2, 1
"""Some thread may keep what it did last until it does something else."""
PICTURES = [noise(seed, 700) for seed in range(CLIENTS)]
"""Of 1.5 MB: they lie on disk."""


def on_disk() -> int:
    """How many pictures this process holds open."""
    found = 0
    for entry in Path("/proc/self/fd").iterdir():
        with suppress(FileNotFoundError):  # closed since
            found += entry.stat().st_size == len(PICTURES[0])
    return found


@contextmanager
def without_collector() -> Iterator[None]:
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


@pytest.mark.skipif(sys.platform != "linux", reason="files are looked for in /proc")
def test_only_the_requests_that_run_keep_their_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    with running(monkeypatch, ServerSettings(port=0)) as server, ExitStack() as clients:
        hold(server.server, server.engine)
        for number, picture in enumerate(PICTURES):
            text = base64.b64encode(picture).decode()
            path, image = (
                ("/generate/demo", {"image": text}) if number % 2 else ("/sdapi/v1/img2img", {"init_images": [text]})
            )
            connection = clients.enter_context(server.connect())
            connection.sendall(request("POST", path, json.dumps({"prompt": "x", **image}).encode()))
        wait_until(lambda: on_disk() == CLIENTS and server.get("/").json["waiting"] >= CLIENTS - RUNNING)
        with without_collector():
            clients.close()
            wait_until(lambda: on_disk() <= RUNNING + LAST)
            assert not gc.isenabled(), "the collector may have looked"
        let_go(server.server, server.engine)
