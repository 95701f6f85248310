"""Handlers of a host may import our types for type checkers alone, as ruff's TCH rules arrange them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from litestar import Litestar, get, post
from litestar.di import NamedDependency
from litestar.params import JSONBody
from litestar.testing import TestClient

from litestar_diffusion import DiffusionConfig, DiffusionPlugin
from litestar_diffusion.testing import fake_services, model

if TYPE_CHECKING:
    from litestar_diffusion import GenerationParameters, ImageGenerator, ModelPool


@post("/card", status_code=200)
async def card(data: JSONBody[GenerationParameters], image_generator: NamedDependency[ImageGenerator]) -> int:
    """A handler of the host."""
    return len((await image_generator.generate("demo", data)).images)


@get("/leases")
async def leases(model_pool: NamedDependency[ModelPool]) -> int:
    """A handler of the host."""
    return model_pool.stats().leases


class Own:
    """A type of the host with a name of ours."""


def app(**options: object) -> Litestar:
    plugin = DiffusionPlugin(DiffusionConfig(path="/images", build=lambda _: fake_services(model("demo"))))
    return Litestar([card, leases], plugins=[plugin], **options)  # type: ignore[arg-type]


def test_types_of_ours_are_found_although_they_are_not_imported_at_run_time() -> None:
    with TestClient(app()) as client:
        assert client.post("/card", json={"prompt": "x", "n": 2}).json() == 2
        assert client.get("/leases").json() == 0


def test_a_name_that_the_host_has_given_stays_its_own() -> None:
    assert app(signature_namespace={"Generated": Own}).signature_namespace["Generated"] is Own
