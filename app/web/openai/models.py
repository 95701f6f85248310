"""`/v1/models`."""

from litestar import Controller, get
from litestar.di import NamedDependency
from litestar.params import SkipValidation

from ...domain import errors
from ...domain.models.catalogue import Catalogue
from ..auth.requirements import requires
from ..http.errors.documented_errors import ModelNameInPath
from ..http.errors.problems import problem_of
from ..http.route_groups import in_group
from .errors import documented
from .wire import ModelObject, ModelsAnswer


class OpenAIModelsController(Controller):
    """Models in OpenAI's shape."""

    path = "/models"
    tags = ("openai",)
    opt = in_group("dialects") | requires("generate", "read")

    @get("/", operation_id="openai_list_models", summary="List models", response_description="Usable models by name.")
    async def list_models(self, catalogue: NamedDependency[SkipValidation[Catalogue]]) -> ModelsAnswer:
        """List the models that can be used."""
        specs = await catalogue.list()
        return ModelsAnswer(data=[ModelObject(id=spec.name) for spec in specs if spec.unusable is None])

    @get(
        "/{model:str}",
        operation_id="openai_get_model",
        summary="Show a model",
        response_description="The model.",
        responses={404: documented("No model has this name.", problem_of(errors.UnknownModel("dmeo", ["demo"])))},
    )
    async def show_model(
        self, model: ModelNameInPath, catalogue: NamedDependency[SkipValidation[Catalogue]]
    ) -> ModelObject:
        """Show one model."""
        spec = await catalogue.find(model)
        return ModelObject(id=spec.name)
