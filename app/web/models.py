"""`/models`: what exists, where it is, and moving it by hand."""

from litestar import Controller, get, post
from litestar.di import NamedDependency
from litestar.params import FromPath, FromQuery, SkipValidation

from ..domain.pool import ModelPool
from ..domain.ports import Catalogue
from .generate import FOREIGN, UNKNOWN, problem
from .wire import LoadView, ModelView, model_view


class ModelsController(Controller):
    """The catalogue and the pool."""

    path = "/models"
    tags = ("models",)

    @get("/", summary="List models", sync_to_thread=False)
    def list_models(
        self,
        catalogue: NamedDependency[SkipValidation[Catalogue]],
        model_pool: NamedDependency[SkipValidation[ModelPool]],
    ) -> list[ModelView]:
        """Every model, unusable ones included, with the reason."""
        return [model_view(spec, model_pool.status(spec.name)) for spec in catalogue.list()]

    @get("/{name:str}", summary="Show a model", responses={404: UNKNOWN}, sync_to_thread=False)
    def show_model(
        self,
        name: FromPath[str],
        catalogue: NamedDependency[SkipValidation[Catalogue]],
        model_pool: NamedDependency[SkipValidation[ModelPool]],
    ) -> ModelView:
        """One model: what it is, how that was found, where it is now, how far its load or download is."""
        spec = catalogue.get(name)
        return model_view(spec, model_pool.status(spec.name))

    @post(
        "/{name:str}/load",
        status_code=200,
        summary="Load a model",
        responses={403: FOREIGN, 404: UNKNOWN, 422: problem("Its files cannot be used.")},
    )
    async def load_model(
        self,
        name: FromPath[str],
        catalogue: NamedDependency[SkipValidation[Catalogue]],
        model_pool: NamedDependency[SkipValidation[ModelPool]],
    ) -> LoadView:
        """Bring a model to the device now, and wait until it is there. A repository is downloaded first."""
        spec = catalogue.get(name)
        was = model_pool.status(spec.name).residency
        await model_pool.load(name)
        return LoadView(name=spec.name, residency=model_pool.status(spec.name).residency, was=was)

    @post(
        "/{name:str}/unload",
        status_code=200,
        summary="Unload a model",
        responses={403: FOREIGN, 404: UNKNOWN, 409: problem("A request uses the model and `wait` is false.")},
    )
    async def unload_model(
        self,
        name: FromPath[str],
        catalogue: NamedDependency[SkipValidation[Catalogue]],
        model_pool: NamedDependency[SkipValidation[ModelPool]],
        wait: FromQuery[bool] = True,
    ) -> LoadView:
        """Free a model's memory, once the requests that use it are done."""
        spec = catalogue.get(name)
        was = model_pool.status(spec.name).residency
        await model_pool.unload(name, wait=wait)
        return LoadView(name=spec.name, residency=model_pool.status(spec.name).residency, was=was)
