"""Errors of image generation in the routes of an application that embeds the plugin."""

from typing import Any

import pytest
from litestar import Litestar, Request, Response, get
from litestar.di import NamedDependency
from litestar.exceptions import HTTPException, NotAuthorizedException, ValidationException
from litestar.params import FromPath
from litestar.testing import TestClient

import litestar_diffusion
from litestar_diffusion import (
    HTTP_STATUS,
    DiffusionConfig,
    DiffusionError,
    DiffusionPlugin,
    GenerationParameters,
    ImageGenerator,
    InvalidRequest,
    UnknownModel,
)
from litestar_diffusion.domain import errors
from litestar_diffusion.testing import fake_services, model


@get("/mine/{name:str}")
async def mine(name: FromPath[str], image_generator: NamedDependency[ImageGenerator]) -> int:
    """A handler of the host."""
    generated = await image_generator.generate(name, GenerationParameters(prompt="x", num_inference_steps=1))
    return len(generated.images)


@get("/defect")
async def defect() -> None:
    """A handler of the host with a defect of its own."""
    raise ZeroDivisionError


def host(exception_handlers: Any = None, **options: Any) -> Litestar:
    plugin = DiffusionPlugin(DiffusionConfig(path="/images", build=lambda _: fake_services(model("a")), **options))
    return Litestar([mine, defect], plugins=[plugin], exception_handlers=exception_handlers)


def answered(_request: Request[Any, Any, Any], error: Exception) -> Response[str]:
    return Response(type(error).__name__, status_code=418)


def test_an_error_of_image_generation_in_a_route_of_the_host_is_a_problem_document() -> None:
    with TestClient(host()) as client:
        answer = client.get("/mine/nope")
    assert (answer.status_code, answer.headers["content-type"]) == (404, "application/problem+json")
    assert (answer.json()["code"], answer.json()["available"]) == ("unknown_model", ["a"])


def test_other_errors_of_the_host_stay_its_own() -> None:
    with TestClient(host(), raise_server_exceptions=False) as client:
        assert (client.get("/defect").status_code, client.get("/nowhere").json().keys()) == (
            500,
            {"status_code", "detail"},
        )


@pytest.mark.parametrize("kind", [DiffusionError, UnknownModel])
def test_a_handler_of_the_host_for_these_errors_wins(kind: type[Exception]) -> None:
    with TestClient(host({kind: answered})) as client:
        assert (client.get("/mine/nope").status_code, client.get("/mine/nope").text) == (418, "UnknownModel")
        assert client.get("/images/models/nope").json()["code"] == "unknown_model", "our routes keep their own handlers"


@pytest.mark.parametrize(
    "kind", [UnknownModel, InvalidRequest, HTTPException, ValidationException, 400, 404, Exception]
)
def test_our_routes_answer_as_documented_whatever_handlers_the_host_has(kind: Any) -> None:
    with TestClient(host({kind: answered})) as client:
        assert client.get("/images/models/nope").json()["code"] == "unknown_model"
        assert client.get("/images/jobs?state=odd").json()["code"] == "invalid_request"


def refuse(_connection: Any, _handler: Any) -> None:
    raise NotAuthorizedException


@pytest.mark.parametrize("kind", [NotAuthorizedException, 401])
def test_the_host_answers_for_its_guards(kind: Any) -> None:
    with TestClient(host({kind: answered}, guards=[refuse])) as client:
        assert client.get("/images/models/a").status_code == 418


def test_the_default_handler_can_be_left_out() -> None:
    app = host({Exception: answered}, set_default_exception_handler=False)
    with TestClient(app) as client:
        assert client.get("/mine/nope").status_code == 418
    assert DiffusionError not in app.exception_handlers


def test_every_error_and_its_status_are_public() -> None:
    kinds = {kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, DiffusionError)}
    assert {getattr(litestar_diffusion, kind.__name__) for kind in kinds} == kinds
    assert kinds - {DiffusionError} == set(HTTP_STATUS)


def test_every_public_name_can_be_imported() -> None:
    for name in litestar_diffusion.__all__:
        assert getattr(litestar_diffusion, name) is not None
