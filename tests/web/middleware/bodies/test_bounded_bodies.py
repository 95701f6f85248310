"""Inside another application, under any server, bodies are bounded in time and memory too."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from litestar import Litestar

from litestar_diffusion import DiffusionConfig, DiffusionPlugin, Settings
from litestar_diffusion.settings import LimitsSettings, ServerSettings
from litestar_diffusion.testing import fake_services, model

SETTINGS = Settings(
    server=ServerSettings(body_timeout_s=0.2, min_bytes_per_s=1_000_000),
    limits=LimitsSettings(max_buffered_bytes=10_000),
)
Receive = Callable[[], Awaitable[Any]]


@asynccontextmanager
async def embedded() -> AsyncIterator[tuple[Litestar, DiffusionPlugin]]:
    def build(settings: Settings) -> Any:
        return fake_services(model("demo"), settings=settings)

    plugin = DiffusionPlugin(DiffusionConfig(path="/images", settings=SETTINGS, build=build))
    app = Litestar(plugins=[plugin])
    async with app.lifespan():
        yield app, plugin


async def answer(app: Litestar, receive: Receive) -> tuple[int, str]:
    """Send a request whose body `receive` delivers; returns the status, and the code of the problem document."""
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    scope: Any = {
        "type": "http",
        "method": "POST",
        "path": "/images/generate/demo",
        "raw_path": b"/images/generate/demo",
        "root_path": "",
        "query_string": b"",
        "headers": [(b"content-type", b"application/json")],
        "client": ("10.0.0.1", 1),
        "scheme": "http",
        "server": ("localhost", 80),
        "http_version": "1.1",
        "state": {},
    }
    await app(scope, receive, send)
    return sent[0]["status"], json.loads(b"".join(each.get("body", b"") for each in sent))["code"]


def chunk(body: bytes, *, more: bool = True) -> dict[str, Any]:
    return {"type": "http.request", "body": body, "more_body": more}


def test_a_body_that_comes_a_byte_at_a_time_gets_408() -> None:
    async def receive() -> Any:
        await asyncio.sleep(0.01)
        return chunk(b" ")

    async def main() -> None:
        async with embedded() as (app, _):
            assert await answer(app, receive) == (408, "body_too_slow")

    asyncio.run(main())


def test_a_body_beyond_the_bound_of_all_gets_503() -> None:
    async def receive() -> Any:
        return chunk(b" " * 6_000)

    async def main() -> None:
        async with embedded() as (app, _):
            for _ in range(2):  # what was held is given back
                assert await answer(app, receive) == (503, "bodies_full")

    asyncio.run(main())


def test_a_client_that_leaves_in_the_middle_of_its_body_is_no_defect_of_ours(caplog: pytest.LogCaptureFixture) -> None:
    parts = [chunk(b'{"prom'), {"type": "http.disconnect"}]

    async def receive() -> Any:
        return parts.pop(0)

    async def main() -> None:
        async with embedded() as (app, _):
            assert await answer(app, receive) == (499, "cancelled")

    asyncio.run(main())
    assert not [record for record in caplog.records if record.exc_info]


def test_no_body_is_awaited_once_the_server_ends() -> None:
    asked = asyncio.Event()

    async def receive() -> Any:
        asked.set()
        await asyncio.sleep(60)

    async def main() -> None:
        async with embedded() as (app, plugin):
            waiting = asyncio.create_task(answer(app, receive))
            await asked.wait()
            await plugin.end()
            assert await waiting == (503, "shutting_down")

    asyncio.run(main())
