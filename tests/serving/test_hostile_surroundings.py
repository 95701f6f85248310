"""A real process with 256 descriptors, and a log that nothing reads, goes on serving and ends in time."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from tests.conftest import SETTINGS, START_S, free_port

from .running import request, wait_until

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="descriptors are counted on Unix")

DESCRIPTORS = 256
PIPE_NBYTES = 65_536


@dataclass(slots=True)
class Process:
    process: subprocess.Popen[bytes]
    port: int
    client: httpx.Client

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=20)


@pytest.fixture(scope="module")
def process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    """`litestar-diffusion serve`, whose standard error is a pipe that is not read."""
    port = free_port()
    command = f"ulimit -n {DESCRIPTORS}; exec {sys.executable} -m litestar_diffusion serve --port {port}"
    started = subprocess.Popen(
        ["/bin/sh", "-c", command],
        cwd=tmp_path_factory.mktemp("hostile"),
        stderr=subprocess.PIPE,
        env={**os.environ, **SETTINGS, "LITESTAR_DIFFUSION__MODELS__DEFAULT": ""},
    )
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=20) as client:
        deadline = time.monotonic() + START_S
        while True:
            with contextlib.suppress(httpx.TransportError):
                if client.get("/health/ready").status_code == 200:
                    break
            assert time.monotonic() < deadline
            time.sleep(0.05)
        yield Process(started, port, client)
    started.kill()
    started.wait()
    assert started.stderr is not None
    started.stderr.close()


def test_health_is_answered_with_more_idle_connections_than_descriptors(process: Process) -> None:
    with contextlib.ExitStack() as stack:
        for _ in range(DESCRIPTORS + 50):
            stack.enter_context(process.connect())
        begun = time.monotonic()
        with httpx.Client(base_url=process.client.base_url) as fresh:
            assert fresh.get("/health/live").status_code == 200
            assert fresh.get("/").status_code == 200
        assert time.monotonic() - begun < 2
        assert len(list(Path(f"/proc/{process.process.pid}/fd").iterdir())) < DESCRIPTORS - 32


def test_a_log_that_is_not_read_blocks_nothing(process: Process) -> None:
    lines = 3 * PIPE_NBYTES // 200
    for index in range(lines):
        assert process.client.get(f"/nowhere/{index}").status_code == 404
    assert process.client.get("/health/live").status_code == 200
    assert process.client.post("/generate/demo", json={"prompt": "x", "num_inference_steps": 1}).status_code == 200


def test_sigterm_ends_it_in_time_with_half_an_upload_and_a_log_that_is_not_read(process: Process) -> None:
    with process.connect() as uploading, process.connect() as header:
        uploading.sendall(request("POST", "/generate/demo", b'{"prom', length=100_000))
        header.sendall(b"GET / HTTP/1.1\r\nhost")
        wait_until(
            lambda: process.client.get("/health/live").status_code == 200
        )  # the bytes above were read before this
        begun = time.monotonic()
        process.process.send_signal(signal.SIGTERM)
        uploading.settimeout(20)
        assert b" 503 " in uploading.recv(100)
        assert process.process.wait(20) in (0, -signal.SIGTERM)
        assert time.monotonic() - begun < 5
    assert process.process.stderr is not None
    log = process.process.stderr.read()
    assert log.count(b'"event":"request"') > 50, "what fitted the pipe was written"
    assert b"Traceback" not in log
