"""Names of upscalers in requests: those that need no file, and those of files."""

from collections.abc import Mapping

from ...errors import FieldError, InvalidRequest, UnknownModel
from ...families.upscaler.networks import USUAL, UpscalerNetwork
from ...models.assets import AssetSet
from ...models.catalogue import Catalogue
from ...models.spec import ModelSpec
from ...models.upscalers import pooled_name
from .upscale_request import UpscaleRequest

LANCZOS = "lanczos"
"""Windowed sinc (Lanczos, 3 lobes), on the CPU."""
LATENT_UPSCALERS = (
    "latent",
    "latent-antialiased",
    "latent-bicubic",
    "latent-bicubic-antialiased",
    "latent-nearest",
    "latent-nearest-exact",
)
"""Interpolations of latents between two passes, as AUTOMATIC1111's web UI lists them; `latent` is bilinear."""
UPSCALER_LABELS: Mapping[str, str] = {
    "latent": "Latent",
    "latent-antialiased": "Latent (antialiased)",
    "latent-bicubic": "Latent (bicubic)",
    "latent-bicubic-antialiased": "Latent (bicubic antialiased)",
    "latent-nearest": "Latent (nearest)",
    "latent-nearest-exact": "Latent (nearest-exact)",
    LANCZOS: "Lanczos",
}
"""Upscalers that need no file, as the web UI calls them."""
MAX_PASSES = 3
"""Times that a picture may go through a network, as in the web UI."""


async def find_upscaler(catalogue: Catalogue, name: str, field: str) -> ModelSpec | None:
    """Find the entry of an upscaler; None for those that need no file.

    Raises:
        InvalidRequest: there is no such file, or it cannot be used.
    """
    if name == LANCZOS or name in LATENT_UPSCALERS:
        return None
    try:
        spec = await catalogue.find(name)
    except UnknownModel as error:
        hint = f" Did you mean {error.likely!r}?" if error.likely else ""
        known = ", ".join([LANCZOS, *error.available])
        message = f"there is no upscaler {error.name!r} in models/upscalers.{hint} Available: {known}"
        raise InvalidRequest([FieldError(field=field, message=message)]) from None
    if spec.unusable is not None:
        message = f"upscaler {spec.name!r} cannot be used: {spec.unusable}"
        raise InvalidRequest([FieldError(field=field, message=message)])
    return spec


def network_of(spec: ModelSpec) -> UpscalerNetwork:
    """Return the sizes of an upscaler's network."""
    return spec.networks if isinstance(spec.networks, UpscalerNetwork) else USUAL


def passes_for(factor: float, scale: int) -> int:
    """Return the passes through a network after which a picture is at least `factor` times as large, at most MAX_PASSES."""
    return next((passes for passes in range(1, MAX_PASSES) if scale**passes >= factor), MAX_PASSES)


def outlined(spec: ModelSpec, *, width: int, height: int, count: int, factor: float) -> UpscaleRequest:
    """Make the request that enlarges pictures, without the pictures."""
    scale = network_of(spec).scale
    return UpscaleRequest(
        assets=AssetSet(pooled_name(spec.name)),
        pictures=(),
        count=count,
        width=width,
        height=height,
        scale=scale,
        passes=passes_for(factor, scale),
    )
