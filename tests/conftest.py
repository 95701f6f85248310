"""Parts that tests share: a real server on a real port, and what is needed to look at its pictures."""

import logging
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import hypothesis
import pytest
import structlog

# Before torch is imported. The layers of the built-in models are too small for several threads, and those of two test processes
# wait for each other's cores by spinning: 37 s instead of 390 for tests/infra/sdxl/test_parity.py beside another process.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# The deadline of an example is a time on the wall, and the machine may be busy.
hypothesis.settings.register_profile("steady", deadline=None)
hypothesis.settings.load_profile("steady")

_OWN_LOGGERS = ("", "litestar_diffusion")
ROOT = Path(__file__).parents[1]
DTYPE = os.environ.get("LITESTAR_DIFFUSION_TEST_DTYPE", "auto")
"""Dtype of the models on every server that the tests start: `float32`, `bfloat16`, or what the engine chooses on this CPU."""
SETTINGS = {
    "LITESTAR_DIFFUSION__MODELS__HUB_ENABLED": "false",
    "LITESTAR_DIFFUSION__MODELS__DTYPE": DTYPE,
    "LITESTAR_DIFFUSION__LIMITS__DRY_RUNS_PER_MINUTE": "0",
}
START_S = 120.0


@dataclass
class Server:
    """A server process, the client that talks to it, and what it has logged."""

    process: subprocess.Popen[bytes]
    url: str
    log: Path
    begun: float
    client: httpx.Client = field(init=False)

    def __post_init__(self) -> None:
        self.client = httpx.Client(base_url=self.url, timeout=120)

    def wait_until(self, path: str, timeout_s: float = START_S) -> float:
        """Wait for a 200 at `path`; returns the seconds since the process began."""
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                raise AssertionError(f"the server ended with {self.process.returncode}:\n{self.log.read_text()}")
            try:
                if self.client.get(path, timeout=2).status_code == 200:
                    return time.monotonic() - self.begun
            except httpx.TransportError:
                time.sleep(0.02)
            else:
                time.sleep(0.05)
        raise AssertionError(f"{path} did not answer 200 within {timeout_s} s:\n{self.log.read_text()}")

    def log_with(self, text: str, timeout_s: float = 5.0) -> str:
        """Return the log once it holds a text: a thread of the server writes it, after the answer. Without it, as it is."""
        deadline = time.monotonic() + timeout_s
        while text not in (log := self.log.read_text()) and time.monotonic() < deadline:
            time.sleep(0.01)
        return log


StartServer = Callable[..., Server]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def launch(
    folder: Path, environment: dict[str, str] | None = None, factory: str | None = None, port: int | None = None
) -> Server:
    """Start `litestar-diffusion serve`, or uvicorn with another application factory, in a folder."""
    port = port or free_port()
    log = folder / "server.log"
    command = (
        [sys.executable, "-m", "litestar_diffusion", "serve"]
        if factory is None
        else [sys.executable, "-m", "uvicorn", factory, "--factory", "--no-access-log"]
    )
    begun = time.monotonic()
    with log.open("wb") as sink:
        process = subprocess.Popen(
            [*command, "--port", str(port)],
            cwd=folder,
            stdout=sink,
            stderr=subprocess.STDOUT,
            env={**os.environ, **SETTINGS, **(environment or {})},
        )
    return Server(process=process, url=f"http://127.0.0.1:{port}", log=log, begun=begun)


def stop(server: Server) -> None:
    server.client.close()
    if server.process.poll() is None:
        server.process.terminate()
        server.process.wait(60)


@contextmanager
def running_server(
    folder: Path, environment: dict[str, str] | None = None, *, until: str = "/health/ready"
) -> Iterator[Server]:
    """Start a server in a folder, wait until a path is answered, and stop it at the end of the block."""
    started = launch(folder, environment)
    try:
        started.wait_until(until)
        yield started
    finally:
        stop(started)


@contextmanager
def _logging_kept() -> Iterator[None]:
    """Put back what a test changes of the process's logging, which whole applications configure."""
    config, configured = structlog.get_config(), structlog.is_configured()
    kind = logging.getLoggerClass()  # structlog's factory of standard loggers replaces it
    loggers = [logging.getLogger(name) for name in _OWN_LOGGERS]
    before = [(logger, logger.handlers[:], logger.level) for logger in loggers]
    yield
    structlog.configure(**config)
    if not configured:
        structlog.reset_defaults()
    logging.setLoggerClass(kind)
    for logger, handlers, level in before:
        logger.handlers[:] = handlers
        logger.setLevel(level)


@pytest.fixture(scope="module", autouse=True)
def _logging_of_the_module() -> Iterator[None]:
    with _logging_kept():
        yield


@pytest.fixture(autouse=True)
def _logging_of_the_test() -> Iterator[None]:
    with _logging_kept():
        yield


def pytest_xdist_auto_num_workers() -> int:
    """Let `pytest -n auto` start a process a core, four at most: each imports torch and starts servers."""
    return min(os.cpu_count() or 1, 4)


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One ready server with the built-in models, started in an empty folder."""
    with running_server(tmp_path_factory.mktemp("server")) as running:
        yield running


@pytest.fixture(scope="session")
def one_model(server: Server) -> dict[str, str]:
    """Settings of a server with memory for one demo model and an image, in the dtype that the engine chose here."""
    server.client.post("/models/demo/load").raise_for_status()
    component = server.client.get("/pool").json()["components"][0]
    told = server.client.post("/generate/demo?dry_run=true", json={"prompt": "x"}).json()["memory"]
    nbytes = int(1.5 * told["weights_nbytes"]) + told["activation_nbytes"]
    return {
        "LITESTAR_DIFFUSION__MODELS__DEFAULT": "",
        "LITESTAR_DIFFUSION__MODELS__DTYPE": component["dtype"],
        "LITESTAR_DIFFUSION__MEMORY__HOST": str(nbytes),
    }


@pytest.fixture
def start_server(tmp_path: Path) -> Iterator[StartServer]:
    """Starts servers of a test's own, which end with it."""
    started: list[Server] = []

    def start(factory: str | None = None, **environment: str) -> Server:
        folder = tmp_path / f"server-{len(started)}"
        folder.mkdir()
        started.append(launch(folder, environment, factory))
        return started[-1]

    yield start
    for running in started:
        stop(running)
