"""`/models`: lists models and their residency, and moves them on demand."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Annotated

from litestar import Controller, get, post
from litestar.di import NamedDependency
from litestar.params import QueryParameter, SkipValidation

from ...domain.memory.ledger import Tier
from ...domain.models.catalogue import Catalogue
from ...domain.models.spec import ModelSpec
from ...domain.placement.model_pool import ModelPool
from ..auth.requirements import requires
from ..http.errors.documented_errors import (
    BUSY,
    FAILED,
    FOREIGN,
    IN_USE,
    NOT_DOWNLOADED,
    UNKNOWN,
    UNUSABLE,
    WRONG_FIELDS,
    ModelNameInPath,
)
from ..http.route_groups import in_group
from .views import LoadView, ModelView, model_view

_VIEWS_AT_ONCE = 50
"""Views made in one turn of the event loop, in about a millisecond."""
_REFUSALS = {400: WRONG_FIELDS, 403: FOREIGN, 404: UNKNOWN}
_CataloguePort = NamedDependency[SkipValidation[Catalogue]]
_Pool = NamedDependency[SkipValidation[ModelPool]]


class ModelsController(Controller):
    """The catalogue."""

    path = "/models"
    tags = ("models",)
    opt = in_group("models") | requires("generate", "read")

    @get("/", summary="List models", response_description="In alphabetical order.")
    async def list_models(self, catalogue: _CataloguePort, model_pool: _Pool) -> list[ModelView]:
        """List every model; unusable ones with the reason."""
        views: list[ModelView] = []
        for spec in await catalogue.refresh():
            if len(views) % _VIEWS_AT_ONCE == 0:
                await asyncio.sleep(0)  # other requests are answered in between
            views.append(model_view(spec, model_pool.status(spec.name)))
        return views

    @get(
        "/{name:str}",
        summary="Show a model",
        response_description="The model.",
        responses={400: WRONG_FIELDS, 404: UNKNOWN},
    )
    async def show_model(self, name: ModelNameInPath, catalogue: _CataloguePort, model_pool: _Pool) -> ModelView:
        """Show one model: its traits and their evidence, where it is in memory, the progress of its load or download."""
        spec = await catalogue.find(name)
        return model_view(spec, model_pool.status(spec.name))


class ResidencyController(Controller):
    """Moves models between tiers of memory."""

    path = "/models"
    tags = ("models",)
    opt = in_group("residency") | requires("admin")

    @post(
        "/{name:str}/load",
        status_code=200,
        summary="Load a model",
        response_description="It is there.",
        responses={
            **_REFUSALS,
            422: UNUSABLE,
            500: FAILED,
            502: NOT_DOWNLOADED,
            503: BUSY,
        },
    )
    async def load_model(
        self,
        name: ModelNameInPath,
        catalogue: _CataloguePort,
        model_pool: _Pool,
        tier: Annotated[
            Tier, QueryParameter(description="How far: into `host` memory, or from there to the `device`.")
        ] = "device",
    ) -> LoadView:
        """Bring a model into memory now, and wait until it is there. A repository is downloaded first."""
        return await _moved(await catalogue.find(name), model_pool, lambda: model_pool.load(name, tier=tier))

    @post(
        "/{name:str}/unload",
        status_code=200,
        summary="Unload a model",
        response_description="It is out of memory.",
        responses={**_REFUSALS, 409: IN_USE},
    )
    async def unload_model(
        self,
        name: ModelNameInPath,
        catalogue: _CataloguePort,
        model_pool: _Pool,
        wait: Annotated[
            bool, QueryParameter(description="Whether to wait for the requests that use it, or to answer 409.")
        ] = True,
    ) -> LoadView:
        """Free a model's memory, once the requests that use it are done."""
        return await _moved(await catalogue.find(name), model_pool, lambda: model_pool.unload(name, wait=wait))

    @post(
        "/{name:str}/pin",
        status_code=200,
        summary="Pin a model",
        response_description="It is pinned.",
        responses={**_REFUSALS},
    )
    async def pin_model(self, name: ModelNameInPath, catalogue: _CataloguePort, model_pool: _Pool) -> ModelView:
        """Never evict the model once it is in memory. It is not loaded by this."""
        return _pinned(await catalogue.find(name), model_pool, pinned=True)

    @post(
        "/{name:str}/unpin",
        status_code=200,
        summary="Unpin a model",
        response_description="It is no longer pinned.",
        responses={**_REFUSALS},
    )
    async def unpin_model(self, name: ModelNameInPath, catalogue: _CataloguePort, model_pool: _Pool) -> ModelView:
        """Allow the model to be evicted again."""
        return _pinned(await catalogue.find(name), model_pool, pinned=False)


def _pinned(spec: ModelSpec, pool: ModelPool, *, pinned: bool) -> ModelView:
    pool.pin(spec.name, pinned=pinned)
    return model_view(spec, pool.status(spec.name))


async def _moved(spec: ModelSpec, pool: ModelPool, move: Callable[[], Awaitable[object]]) -> LoadView:
    """Move a model, and return its residency before and after."""
    was = pool.status(spec.name).residency
    await move()
    return LoadView(name=spec.name, residency=pool.status(spec.name).residency, was=was)
