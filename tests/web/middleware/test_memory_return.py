"""Memory goes back to the system after much traffic, and not more often than it is worth."""

import asyncio
from typing import Any

from litestar_diffusion.domain.freed_memory import FreedMemory
from litestar_diffusion.web.middleware.memory_return import MemoryReturn

MB = 1_000_000


def test_memory_is_given_back_after_many_bytes_and_not_after_few() -> None:
    given: list[int] = []

    async def main() -> None:
        async def app(_scope: Any, receive: Any, send: Any) -> None:
            await receive()
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": bytes(10 * MB), "more_body": False})

        async def receive() -> Any:
            return {"type": "http.request", "body": bytes(10 * MB), "more_body": False}

        async def send(_message: Any) -> None:
            pass

        returning = MemoryReturn(app, FreedMemory(lambda: given.append(1)))
        for _ in range(2):
            await returning({"type": "http"}, receive, send)  # type: ignore[typeddict-item, arg-type]
        await asyncio.sleep(0)
        assert not given
        await returning({"type": "http"}, receive, send)  # type: ignore[typeddict-item, arg-type]
        async with asyncio.timeout(10):
            while not given:  # noqa: ASYNC110 - a list is no event
                await asyncio.sleep(0)

    asyncio.run(main())
    assert len(given) == 1


def test_bodies_of_requests_that_wait_are_counted_once_they_are_here() -> None:
    given: list[int] = []

    async def main() -> None:
        async def waiting(_scope: Any, receive: Any, _send: Any) -> None:
            await receive()
            await asyncio.Event().wait()

        async def receive() -> Any:
            return {"type": "http.request", "body": bytes(70 * MB)}

        async def send(_message: Any) -> None:
            raise AssertionError("it waits")

        returning = MemoryReturn(waiting, FreedMemory(lambda: given.append(1)))
        request = asyncio.ensure_future(returning({"type": "http"}, receive, send))  # type: ignore[typeddict-item, arg-type]
        async with asyncio.timeout(10):
            while not given:  # noqa: ASYNC110 - a list is no event
                await asyncio.sleep(0.01)
        request.cancel()

    asyncio.run(main())
    assert len(given) == 1


def test_few_bytes_are_given_back_once_no_more_come() -> None:
    given: list[int] = []
    now_s = 0.0

    async def main() -> None:
        nonlocal now_s
        freed = FreedMemory(lambda: given.append(1), settle_s=0, pause_s=10, clock=lambda: now_s)
        for _ in range(5):
            freed.note(10 * MB)
            now_s += 9
            for _ in range(10):
                await asyncio.sleep(0)
            assert not given, "others come"
        now_s += 1
        async with asyncio.timeout(10):
            while not given:  # noqa: ASYNC110 - a list is no event
                await asyncio.sleep(0)
        now_s += 100
        freed.note(MB // 2)
        for _ in range(10):
            await asyncio.sleep(0)

    asyncio.run(main())
    assert len(given) == 1, "half a megabyte is not worth it"
