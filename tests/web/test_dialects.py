"""A dialect is a router, wire types and an error encoder: this one is mounted by one entry in a list."""

import asyncio
from typing import Any

import msgspec
from litestar import Litestar, Request, Response, post
from litestar.di import NamedDependency
from litestar.params import FromPath, JSONBody, SkipValidation
from litestar.testing import AsyncTestClient

from litestar_diffusion import DiffusionConfig, DiffusionError, DiffusionPlugin, GenerationParameters
from litestar_diffusion.testing import FakeEngine, fake_services, model
from litestar_diffusion.web.dialect import Dialect
from litestar_diffusion.web.dialects import DIALECTS
from litestar_diffusion.web.generation_service import GenerationService


class Drawing(msgspec.Struct):
    """Request of the dialect."""

    text: str


@post("/draw/{name:str}", status_code=200)
async def draw(
    request: Request[Any, Any, Any],
    name: FromPath[str],
    data: JSONBody[Drawing],
    generation: NamedDependency[SkipValidation[GenerationService]],
) -> dict[str, Any]:
    """Decode, call the service, encode."""
    generated = await generation.generate(
        request, name, GenerationParameters(prompt=data.text), idempotency_key=data.text
    )
    return {"id": generated.id, "picture": len(generated.images[0].data)}


def encoded(request: Request[Any, Any, Any], error: DiffusionError) -> Response[dict[str, str]]:
    return Response({"oops": error.code}, status_code=418)


TOY = Dialect(name="toy", path="/toy", route_handlers=(draw,), exception_handlers=lambda: {DiffusionError: encoded})


def test_a_dialect_is_mounted_by_one_entry_and_encodes_its_own_errors() -> None:
    engine = FakeEngine()

    async def main() -> None:
        plugin = DiffusionPlugin(
            DiffusionConfig(
                path="/images",
                dialects=(*DIALECTS, TOY),
                build=lambda settings: fake_services(model("demo"), settings=settings, engine=engine),
            )
        )
        async with AsyncTestClient(Litestar(plugins=[plugin])) as client:
            first, again = [await client.post("/images/toy/draw/demo", json={"text": "x"}) for _ in range(2)]
            assert first.status_code == 200, first.text
            assert first.json() == again.json(), "the service joins requests with the same idempotency key"
            assert len(engine.requests) == 1
            theirs = await client.post("/images/toy/draw/nope", json={"text": "y"})
            assert (theirs.status_code, theirs.json()) == (418, {"oops": "unknown_model"})
            native = await client.post("/images/generate/nope", json={"prompt": "x"})
            assert (native.status_code, native.json()["code"]) == (404, "unknown_model")

    asyncio.run(main())
