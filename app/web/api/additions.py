"""`/adapters` and `/vaes`: what can be added to a model, and where it is in memory."""

from typing import Annotated

from litestar import Controller, get, post
from litestar.di import NamedDependency
from litestar.openapi.spec import Example
from litestar.params import PathParameter, QueryParameter, SkipValidation

from ...domain.errors import ModelInUse, UnknownAdapter, UnknownVae
from ...domain.models.assets import AssetKey, key_of
from ...domain.models.catalogue import Catalogues
from ...domain.placement.model_pool import ModelPool
from ..auth.requirements import requires
from ..http.errors.documented_errors import FOREIGN, WRONG_FIELDS, documented
from ..http.route_groups import in_group
from .addition_views import AdapterView, VaeView, adapter_view, vae_view
from .views import LoadView

_Catalogues = NamedDependency[SkipValidation[Catalogues]]
_Pool = NamedDependency[SkipValidation[ModelPool]]
_AdapterName = Annotated[
    str,
    PathParameter(
        description="Name of an adapter, or of its file, in any case.",
        examples=[Example(summary="outline", value="outline")],
    ),
]
_VaeName = Annotated[
    str,
    PathParameter(
        description="Name of a VAE, or of its file, in any case.",
        examples=[Example(summary="sdxl-vae-fp16-fix", value="sdxl-vae-fp16-fix")],
    ),
]
UNKNOWN_ADAPTER = documented(
    "No adapter has this name; `available` lists those that exist.", UnknownAdapter("outlin", ["outline"])
)
UNKNOWN_VAE = documented("No VAE has this name; `available` lists those that exist.", UnknownVae("fix", ["fp16-fix"]))
_IN_USE = documented(
    "Requests use the adapter, and `wait` is false.",
    ModelInUse("Adapter 'outline' is in use by 1 requests. Try again later, or wait for them."),
)


class AdditionsController(Controller):
    """The catalogues of adapters and VAEs."""

    tags = ("models",)
    opt = in_group("models") | requires("generate", "read")

    @get("/adapters", summary="List adapters", response_description="In alphabetical order.")
    async def list_adapters(self, catalogues: _Catalogues, model_pool: _Pool) -> list[AdapterView]:
        """List every adapter of `models/loras/`: LoRAs and their relatives; unusable ones with the reason."""
        specs = await catalogues.adapters.refresh()
        return [adapter_view(spec, model_pool.asset_status(key_of(spec))) for spec in specs]

    @get(
        "/adapters/{name:str}",
        summary="Show an adapter",
        response_description="The adapter.",
        responses={400: WRONG_FIELDS, 404: UNKNOWN_ADAPTER},
    )
    async def show_adapter(self, name: _AdapterName, catalogues: _Catalogues, model_pool: _Pool) -> AdapterView:
        """Show one adapter: the family that it is for, its format, algorithms, rank and trigger words, and where it is."""
        spec = await catalogues.adapters.find(name)
        return adapter_view(spec, model_pool.asset_status(key_of(spec)))

    @get("/vaes", summary="List VAEs", response_description="In alphabetical order.")
    async def list_vaes(self, catalogues: _Catalogues, model_pool: _Pool) -> list[VaeView]:
        """List every VAE of `models/vae/`; unusable ones with the reason."""
        specs = await catalogues.vaes.refresh()
        return [vae_view(spec, model_pool.asset_status(key_of(spec))) for spec in specs]

    @get(
        "/vaes/{name:str}",
        summary="Show a VAE",
        response_description="The VAE.",
        responses={400: WRONG_FIELDS, 404: UNKNOWN_VAE},
    )
    async def show_vae(self, name: _VaeName, catalogues: _Catalogues, model_pool: _Pool) -> VaeView:
        """Show one VAE: the family that it is for, and where it is."""
        spec = await catalogues.vaes.find(name)
        return vae_view(spec, model_pool.asset_status(key_of(spec)))


class AdapterResidencyController(Controller):
    """Frees the memory of adapters."""

    path = "/adapters"
    tags = ("models",)
    opt = in_group("residency") | requires("admin")

    @post(
        "/{name:str}/unload",
        status_code=200,
        summary="Unload an adapter",
        response_description="It is out of memory.",
        responses={400: WRONG_FIELDS, 403: FOREIGN, 404: UNKNOWN_ADAPTER, 409: _IN_USE},
    )
    async def unload_adapter(
        self,
        name: _AdapterName,
        catalogues: _Catalogues,
        model_pool: _Pool,
        wait: Annotated[
            bool, QueryParameter(description="Whether to wait for the requests that use it, or to answer 409.")
        ] = True,
    ) -> LoadView:
        """Free an adapter's memory, once the requests that use it are done. The next request that names it loads it again."""
        key = AssetKey("adapter", (await catalogues.adapters.find(name)).name)
        was = model_pool.asset_status(key).residency
        await model_pool.unload_asset(key, wait=wait)
        return LoadView(name=key.name, residency=model_pool.asset_status(key).residency, was=was)
