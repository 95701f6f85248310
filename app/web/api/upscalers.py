"""`GET /upscalers`."""

from litestar import get
from litestar.di import NamedDependency
from litestar.params import SkipValidation

from ...domain.models.catalogue import Catalogues
from ...domain.models.upscalers import pooled_name
from ...domain.placement.model_pool import ModelPool
from ..auth.requirements import requires
from ..http.route_groups import in_group
from .images.upscale_views import LANCZOS_VIEW, UpscalerView, upscaler_view


@get(
    "/upscalers",
    summary="List upscalers",
    response_description="`lanczos`, then files in alphabetical order.",
    tags=["models"],
    opt=in_group("models") | requires("generate", "read"),
)
async def list_upscalers(
    catalogues: NamedDependency[SkipValidation[Catalogues]], model_pool: NamedDependency[SkipValidation[ModelPool]]
) -> list[UpscalerView]:
    """List what `POST /upscale` and `hires` can use; unusable files with the reason."""
    specs = await catalogues.upscalers.refresh()
    return [LANCZOS_VIEW, *(upscaler_view(spec, model_pool.status(pooled_name(spec.name))) for spec in specs)]
