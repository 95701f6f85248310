"""Streams whose client leaves: the work stops, and nothing is kept."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from litestar import Litestar

from litestar_diffusion import DiffusionConfig, DiffusionPlugin
from litestar_diffusion.bootstrap import Services
from litestar_diffusion.testing import FakeEngine, fake_services, model

BODY = {"prompt": "x", "stream": True, "partial_images": 1, "num_inference_steps": 4, "size": "64x64"}


class Bench:
    """An application, and one client that hears its events and may leave."""

    def __init__(self) -> None:
        self.engine = FakeEngine()
        self.services: list[Services] = []
        self.app = Litestar(plugins=[DiffusionPlugin(DiffusionConfig(build=self._build))])
        self.heard, self.gone = b"", asyncio.Event()

    def _build(self, settings: Any) -> Services:
        self.services.append(fake_services(model("demo"), settings=settings, engine=self.engine))
        return self.services[-1]

    async def post(self, body: dict[str, Any]) -> None:
        messages = [{"type": "http.request", "body": json.dumps(body).encode(), "more_body": False}]

        async def receive() -> Any:
            if messages:
                return messages.pop()
            await self.gone.wait()
            return {"type": "http.disconnect"}

        async def send(message: Any) -> None:
            self.heard += message.get("body", b"")
            if message["type"] == "http.response.body" and not message.get("more_body"):
                self.gone.set()  # as servers tell an application at the end of its answer

        path = "/v1/images/generations"
        scope: Any = {
            "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": "POST", "scheme": "http",
            "path": path, "raw_path": path.encode(), "root_path": "", "query_string": b"", "client": ("127.0.0.1", 1),
            "server": ("localhost", 80), "headers": [(b"host", b"localhost")], "state": {},
        }  # fmt: skip
        await self.app(scope, receive, send)

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(20):
            while not condition():  # noqa: ASYNC110 - the conditions are those of fakes
                await asyncio.sleep(0)

    def assert_all_is_over(self) -> None:
        (services,) = self.services
        assert services.job_store.in_flight == []
        assert (services.dispatcher.depth, services.pool.stats().leases) == (0, 0)


def run(scenario: Callable[[Bench], Awaitable[None]]) -> None:
    async def main() -> None:
        bench = Bench()
        async with bench.app.lifespan():
            await scenario(bench)

    asyncio.run(main())


@pytest.mark.parametrize("heard", [b"", b"image_generation.partial_image"])
def test_work_stops_when_its_client_leaves_the_stream(heard: bytes) -> None:
    """Half-way, or before the answer has begun."""

    async def scenario(bench: Bench) -> None:
        bench.engine.gate.clear()
        if not heard:
            bench.gone.set()
            await bench.post(BODY)
            bench.engine.gate.set()
            services = bench.services[0]
            await bench.until(lambda: services.dispatcher.depth == 0 and services.job_store.in_flight == [])
            bench.assert_all_is_over()
            return
        talking = asyncio.create_task(bench.post(BODY))
        await bench.until(lambda: bool(bench.engine.running))
        (job,) = bench.services[0].job_store.in_flight
        bench.engine.gate.set()
        await bench.until(lambda: job.steps_done >= 1)
        bench.engine.gate.clear()
        await bench.until(lambda: heard in bench.heard)
        bench.gone.set()
        await talking
        bench.engine.gate.set()
        await bench.until(lambda: job.over and bench.services[0].dispatcher.depth == 0)
        assert (job.state, bench.engine.running) == ("cancelled", [])
        assert b"image_generation.completed" not in bench.heard
        bench.assert_all_is_over()

    run(scenario)


def test_a_stream_that_was_read_to_its_end_is_kept_no_longer() -> None:
    async def scenario(bench: Bench) -> None:
        await bench.post(
            {**BODY, "num_inference_steps": 2, "style": "vivid", "negative_prompt": "y", "guidance_scale": 0}
        )
        events = [line for line in bench.heard.decode().splitlines() if line.startswith("data: {")]
        warnings = json.loads(events[-1].removeprefix("data: "))["warnings"]
        assert ["style" in warnings[0], "negative_prompt has no effect" in warnings[1]] == [True, True]
        bench.assert_all_is_over()

    run(scenario)
