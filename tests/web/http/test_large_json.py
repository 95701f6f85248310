"""Answers with files are the same bytes as when they are encoded at once, and are never in memory as a whole."""

import asyncio
import os
from typing import Any

import msgspec
import pytest
from litestar import Litestar, get
from litestar.testing import TestClient

from litestar_diffusion.web.http.large_json import LargeJSON


class Picture(msgspec.Struct, frozen=True, kw_only=True):
    name: str
    image: bytes


class Answer(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    pictures: list[Picture]
    note: str | None = None
    first: Picture | None = None


def answer(*sizes: int) -> Answer:
    return Answer(pictures=[Picture(name=f'"{size}"é', image=os.urandom(size)) for size in sizes])


@pytest.mark.parametrize("sizes", [(), (0,), (100,), (32_769,), (49_152, 49_153), (3, 1_000_000, 7, 98_304)])
def test_it_is_what_encoding_at_once_gives(sizes: tuple[int, ...]) -> None:
    content = answer(*sizes)

    @get("/", sync_to_thread=False)
    def show() -> Answer:
        return content

    @get("/with-headers", sync_to_thread=False)
    def show_with_headers() -> LargeJSON[Answer]:
        return LargeJSON(content, headers={"x-seed": "7"}, status_code=202)

    app = Litestar([show, show_with_headers], response_class=LargeJSON, openapi_config=None)
    with TestClient(app) as client:
        expected = msgspec.json.encode(content)
        for path, status in (("/", 200), ("/with-headers", 202)):
            found = client.get(path)
            assert (found.status_code, found.content) == (status, expected)
            assert found.headers["content-length"] == str(len(expected))
            assert found.headers["content-type"] == "application/json"
        assert found.headers["x-seed"] == "7"


def test_nothing_is_encoded_before_the_client_has_read_what_came_before() -> None:
    content = answer(10_000_000)
    sent: list[int] = []

    async def main() -> None:
        response = LargeJSON(content).to_asgi_response(None, None)
        may_send = asyncio.Event()

        async def send(message: Any) -> None:
            sent.append(len(message.get("body", b"")))
            await may_send.wait()

        async def receive() -> Any:
            raise AssertionError

        sending = asyncio.create_task(response({}, receive, send))  # type: ignore[typeddict-item, arg-type]
        while not sent:  # noqa: ASYNC110 - a list is no event
            await asyncio.sleep(0)
        assert sum(sent) < 70_000
        may_send.set()
        await sending

    asyncio.run(main())
    assert max(sent) < 70_000
    assert sum(sent) == len(msgspec.json.encode(content))
