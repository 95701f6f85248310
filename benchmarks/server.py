"""A server of a benchmark's own, on a free port of 127.0.0.1, in a process of its own."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import httpx

_FACTORY = "litestar_diffusion.asgi:create_app"
_END_S = 60.0


@dataclass(frozen=True, slots=True)
class Started:
    """A server process that may not answer yet."""

    url: str
    port: int
    process: subprocess.Popen[bytes]
    begun: float
    """When the process was started, on the monotonic clock."""

    def wait_until_ok(self, path: str, timeout_s: float) -> float:
        """Wait for a 200 at `path`. Returns the seconds since the process began.

        Raises:
            TimeoutError: it did not come within `timeout_s` seconds.
            ChildProcessError: the server has ended.
        """
        deadline = time.monotonic() + timeout_s
        with httpx.Client(base_url=self.url, timeout=1) as client:
            while time.monotonic() < deadline:
                if self.process.poll() is not None:
                    raise ChildProcessError(f"the server ended with {self.process.returncode}")
                with suppress(httpx.TransportError):
                    if client.get(path).status_code == 200:
                        return time.monotonic() - self.begun
                time.sleep(0.02)
        raise TimeoutError(f"{path} did not answer 200 within {timeout_s:g} s")


@contextmanager
def server(folder: Path, environment: Mapping[str, str], factory: str = _FACTORY) -> Iterator[Started]:
    """Start uvicorn with an application factory, and end it.

    Args:
        folder: where it runs, and where its log, `server.log`, is written.
        environment: added to that of this process; the Hub's models are off.
        factory: `module:function` of the application.
    """
    command = ["uvicorn", factory, "--factory", "--no-access-log"]
    with _started(command, folder, environment) as started:
        yield started


@contextmanager
def served(folder: Path, environment: Mapping[str, str]) -> Iterator[Started]:
    """Start `litestar-diffusion serve`, which has limits of connections, and end it. Arguments as of `server`."""
    with _started(["litestar_diffusion", "serve"], folder, environment) as started:
        yield started


@contextmanager
def _started(command: Sequence[str], folder: Path, environment: Mapping[str, str]) -> Iterator[Started]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    begun = time.monotonic()
    with (folder / "server.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", *command, "--port", str(port)],
            cwd=folder,
            stdout=log,
            stderr=subprocess.STDOUT,
            env={**os.environ, "LITESTAR_DIFFUSION__MODELS__HUB_ENABLED": "false", **environment},
        )
    try:
        yield Started(f"http://127.0.0.1:{port}", port, process, begun)
    finally:
        process.terminate()
        try:
            process.wait(_END_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
