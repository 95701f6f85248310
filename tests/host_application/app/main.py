"""A host with everything of its own: guards, documents, error handlers, CORS, a lifespan, logging left to itself."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from litestar import Litestar, Request, Response, get
from litestar.config.cors import CORSConfig
from litestar.connection import ASGIConnection
from litestar.di import NamedDependency
from litestar.exceptions import HTTPException, NotAuthorizedException
from litestar.handlers import BaseRouteHandler
from litestar.openapi import OpenAPIConfig
from litestar.params import FromPath
from litestar.plugins import PluginProtocol

from litestar_diffusion import (
    HTTP_STATUS,
    ROUTE_GROUPS,
    DiffusionConfig,
    DiffusionError,
    DiffusionPlugin,
    GenerationParameters,
    Settings,
    UnknownModel,
    problem_of,
)
from litestar_diffusion.testing import fake_services, model

if TYPE_CHECKING:
    from litestar_diffusion import Generated, ImageGenerator, ModelPool

LIVED: list[str] = []


@asynccontextmanager
async def lifespan(_app: Litestar) -> AsyncGenerator[None, None]:
    """Note the start and the end."""
    LIVED.append("started")
    yield
    LIVED.append("ended")


def with_key(connection: ASGIConnection[Any, Any, Any, Any], _handler: BaseRouteHandler) -> None:
    """Let requests with a key pass."""
    if "x-key" not in connection.headers:
        raise NotAuthorizedException


def on_http_error(_request: Request[Any, Any, Any], error: HTTPException) -> Response[dict[str, str]]:
    """Answer as this host does."""
    return Response({"host": error.detail}, status_code=error.status_code)


def on_defect(_request: Request[Any, Any, Any], error: Exception) -> Response[dict[str, str]]:
    """Answer as this host does."""
    return Response({"defect": type(error).__name__}, status_code=500)


@get("/items/{number:int}", guards=[with_key])
async def item(number: FromPath[int]) -> dict[str, int]:
    """Show an item."""
    return {"number": number}


@get("/defect")
async def defect() -> None:
    """Fail."""
    raise ZeroDivisionError


@get("/card/{name:str}")
async def card(
    name: FromPath[str], image_generator: NamedDependency[ImageGenerator], model_pool: NamedDependency[ModelPool]
) -> dict[str, int]:
    """Make a picture."""
    generated: Generated = await image_generator.generate(name, GenerationParameters(prompt="a card"))
    return {"bytes": len(generated.images[0].data), "leases": model_pool.stats().leases}


def status(error: DiffusionError) -> int:
    """Return the status of an error."""
    return problem_of(error).status if isinstance(error, UnknownModel) else HTTP_STATUS[type(error)]


def config() -> DiffusionConfig:
    """Configure image generation, with fakes."""
    return DiffusionConfig(
        path="/images",
        settings=Settings(),
        routes=ROUTE_GROUPS - {"residency"},
        guards=[with_key],
        unguarded={"health"},
        build=lambda settings: fake_services(model("demo"), settings=settings),
    )


def create(plugins: Sequence[PluginProtocol], *handlers: Any) -> Litestar:
    """Build the host, with plugins or without."""
    return Litestar(
        [item, defect, *handlers],
        plugins=plugins,
        openapi_config=OpenAPIConfig(title="Host", version="9", path="/documents"),
        exception_handlers={HTTPException: on_http_error, Exception: on_defect},
        cors_config=CORSConfig(allow_origins=["https://friend.example"]),
        lifespan=[lifespan],
        logging_config=None,
    )


def create_app() -> Litestar:
    """Build the host with image generation."""
    return create([DiffusionPlugin(config())], card)
