"""The standalone application on a real port, served by our server in a thread, with fakes behind it."""

import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import msgspec
import pytest

from litestar_diffusion import asgi
from litestar_diffusion.cli.listening import listen
from litestar_diffusion.lifecycle import Services
from litestar_diffusion.serving.server import Server, make_server
from litestar_diffusion.settings import LimitsSettings, ServerSettings, Settings
from litestar_diffusion.testing import FakeEngine, fake_services, model

SOON_S = 20.0
SERVER = ServerSettings(
    port=0, header_timeout_s=0.4, body_timeout_s=0.4, write_timeout_s=0.4, min_bytes_per_s=1_000_000
)


@dataclass(slots=True)
class Running:
    """A server that answers."""

    server: Server
    services: Services
    engine: FakeEngine
    port: int

    def connect(self, address: str = "127.0.0.1") -> socket.socket:
        """Open a connection whose reads do not wait for ever. Linux has all of 127.0.0.0/8."""
        return socket.create_connection(("127.0.0.1", self.port), timeout=SOON_S, source_address=(address, 0))

    def get(self, path: str) -> "Answer":
        """Ask on a connection of its own."""
        with self.connect() as connection:
            connection.sendall(request("GET", path, close=True))
            return answer_on(connection)

    @property
    def connections(self) -> int:
        """Connections that the limits know of."""
        return len(self.server.watched)

    @property
    def busy(self) -> int:
        """Connections with a request."""
        return self.server.watched.busy


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@contextmanager
def running(
    monkeypatch: pytest.MonkeyPatch, server: ServerSettings = SERVER, limits: LimitsSettings | None = None
) -> Iterator[Running]:
    settings = Settings(server=server, limits=limits or LimitsSettings())
    engine, made = FakeEngine(), list[Services]()

    def build(settings: Settings, **_: Any) -> Services:
        made.append(fake_services(model("demo"), settings=settings, engine=engine))
        return made[-1]

    # The process is shared with other tests: their logging and their heap stay as they are.
    monkeypatch.setattr(asgi, "configure_logging", lambda *_, **__: None)
    monkeypatch.setattr(asgi, "keep_freed_memory", lambda: None)
    with listen("127.0.0.1", 0) as listening:
        port = listening.getsockname()[1]
        bound = msgspec.structs.replace(settings, server=msgspec.structs.replace(server, port=port))
        served = make_server(asgi.create_app(bound, build_services=build), bound)
        thread = threading.Thread(target=served.run, kwargs={"sockets": [listening]})
        thread.start()
        try:
            wait_until(lambda: served.started)
            yield Running(served, made[0], engine, port)
        finally:
            let_go(served, engine)
            served.should_exit = True
            thread.join(SOON_S)
            assert not thread.is_alive()


def hold(server: Server, engine: FakeEngine) -> None:
    """Have images wait."""
    assert server.loop is not None
    server.loop.call_soon_threadsafe(engine.gate.clear)


def let_go(server: Server, engine: FakeEngine) -> None:
    """Have images go on."""
    if server.loop is not None and not server.loop.is_closed():
        server.loop.call_soon_threadsafe(engine.gate.set)


def request(
    method: str, path: str, body: bytes | None = None, *, close: bool = False, length: int | None = None
) -> bytes:
    """Return the bytes of a request; `length` is what its header states, if that is not its body's."""
    lines = [f"{method} {path} HTTP/1.1", "host: localhost"]
    if body is not None or length is not None:
        lines.append(f"content-length: {len(body or b'') if length is None else length}")
    if close:
        lines.append("connection: close")
    return "\r\n".join([*lines, "", ""]).encode() + (body or b"")


def answer_on(connection: socket.socket) -> Answer:
    """Read one answer with a stated length."""
    with connection.makefile("rb") as reader:
        status = int(reader.readline().split()[1])
        headers = dict(_headers(reader))
        return Answer(status, headers, reader.read(int(headers.get("content-length", 0))))


def _headers(reader: Any) -> Iterator[tuple[str, str]]:
    while line := reader.readline().strip():
        name, _, value = line.decode("latin-1").partition(":")
        yield name.lower(), value.strip()


def is_closed(connection: socket.socket) -> bool:
    """Read until the other side ends the connection. Fails if it does not within `SOON_S`."""
    try:
        while connection.recv(65_536):
            pass
    except ConnectionError:
        pass
    return True


def wait_until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + SOON_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)
