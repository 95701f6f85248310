"""An application with keys and a fake engine, for tests."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import httpx
from litestar import Litestar
from litestar.testing import TestClient

from litestar_diffusion import DiffusionConfig, DiffusionPlugin, Settings
from litestar_diffusion.domain.access.api_key import ApiKey, hash_of, new_key
from litestar_diffusion.domain.access.scopes import Scope
from litestar_diffusion.testing import FakeEngine, fake_services, model

NAMES: dict[str, tuple[Scope, ...]] = {
    "ci": ("generate",),
    "other": ("generate",),
    "prom": ("read",),
    "root": ("admin",),
}
TEXTS = {name: new_key() for name in NAMES}
BODY = {"prompt": "x", "num_inference_steps": 1, "width": 64, "height": 64, "seed": 7}


def keys(**limits: dict[str, Any]) -> dict[str, ApiKey]:
    return {
        name: ApiKey(hash=hash_of(TEXTS[name]), scopes=scopes, **limits.get(name, {})) for name, scopes in NAMES.items()
    }


def keyed_app(engine: FakeEngine | None = None, **limits: dict[str, Any]) -> Litestar:
    settings = Settings(keys=keys(**limits))

    def build(settings: Settings) -> Any:
        return fake_services(model("demo"), model("large"), settings=settings, engine=engine)

    return Litestar(plugins=[DiffusionPlugin(DiffusionConfig(settings=settings, build=build))])


@contextmanager
def keyed(engine: FakeEngine | None = None, **limits: dict[str, Any]) -> Iterator[TestClient[Litestar]]:
    with TestClient(keyed_app(engine, **limits)) as client:
        yield client


@asynccontextmanager
async def keyed_loop(engine: FakeEngine, **limits: dict[str, Any]) -> AsyncIterator[httpx.AsyncClient]:
    """On one event loop with the test, so that requests can wait for each other."""
    app = keyed_app(engine, **limits)
    transport = httpx.ASGITransport(app)
    async with app.lifespan(), httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
        yield client


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(20):
        while not condition():  # noqa: ASYNC110 - the conditions are those of fakes
            await asyncio.sleep(0)


def bearer(name: str) -> dict[str, str]:
    return {"authorization": f"Bearer {TEXTS[name]}"}
