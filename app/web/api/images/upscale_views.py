"""What `/upscale` and `/upscalers` answer, in JSON."""

from typing import Annotated

import msgspec
from msgspec import Meta

from ....domain.memory.snapshot import AssetStatus
from ....domain.models.spec import HEAT, Heat, ModelSpec, Residency
from ....domain.requests.upscaling.upscale_parameters import ResolvedUpscaling
from ....domain.requests.upscaling.upscalers import LANCZOS, network_of
from ....domain.upscaling import Upscaled
from ...http.media_types import IMAGES
from ...http.timings import milliseconds


class UpscaledImageView(msgspec.Struct, frozen=True, kw_only=True):
    """The enlarged picture."""

    image: Annotated[bytes, Meta(description="The encoded file, in base64.")]
    media_type: str
    width: int
    height: int


class UpscaleTimingsView(msgspec.Struct, frozen=True, kw_only=True):
    """Where the time went, in milliseconds."""

    start_ms: Annotated[float, Meta(description="Wait for the engine's start; 0 once it runs, and for `lanczos`.")]
    queue_ms: float
    load_ms: float
    upscale_ms: float
    write_ms: float
    total_ms: float


class UpscaleView(msgspec.Struct, frozen=True, kw_only=True):
    """The answer to an enlargement."""

    id: str
    upscaler: str
    images: Annotated[list[UpscaledImageView], Meta(description="One.")]
    parameters: ResolvedUpscaling
    timings: UpscaleTimingsView
    residency: (
        Annotated[
            Heat,
            Meta(
                description="Where the request found its upscaler: `hot` on the device, `warm` in host memory, `cold` on disk; "
                "null for `lanczos`."
            ),
        ]
        | None
    )
    memory_savings: Annotated[
        list[str], Meta(description="What was done because memory was short: `drop_idle`, `small_tiles`.")
    ]
    warnings: Annotated[list[str], Meta(description="What was changed or ignored.")]


class UpscalerView(msgspec.Struct, frozen=True, kw_only=True):
    """An upscaler."""

    name: str
    architecture: Annotated[str, Meta(description="Of its network.")] | None
    scale: Annotated[int, Meta(description="Its own factor; others are reached by shrinking.")] | None
    usable: bool
    unusable: Annotated[str, Meta(description="Why the file cannot be used.")] | None
    evidence: Annotated[list[str], Meta(description="How this was found.")]
    version: Annotated[str, Meta(description="Changes with the file.")]
    size_nbytes: Annotated[int, Meta(description="On disk.")] | None
    residency: Residency | None
    memory_nbytes: int
    in_use: Annotated[int, Meta(description="Requests that hold it or wait for it.")]


LANCZOS_VIEW = UpscalerView(
    name=LANCZOS,
    architecture=None,
    scale=None,
    usable=True,
    unusable=None,
    evidence=["needs no file"],
    version="",
    size_nbytes=None,
    residency=None,
    memory_nbytes=0,
    in_use=0,
)


def upscaler_view(spec: ModelSpec, status: AssetStatus) -> UpscalerView:
    """Format an entry and its state for the wire."""
    network = network_of(spec) if spec.unusable is None else None
    return UpscalerView(
        name=spec.name,
        architecture=None if network is None else network.architecture,
        scale=None if network is None else network.scale,
        usable=spec.unusable is None,
        unusable=spec.unusable,
        evidence=list(spec.evidence),
        version=spec.version,
        size_nbytes=spec.nbytes,
        residency=status.residency,
        memory_nbytes=status.nbytes,
        in_use=status.leases,
    )


def upscale_view(upscaled: Upscaled) -> UpscaleView:
    """Format a finished request for the wire."""
    image = upscaled.image
    return UpscaleView(
        id=upscaled.id,
        upscaler=upscaled.parameters.upscaler,
        images=[
            UpscaledImageView(image=image.data, media_type=IMAGES[image.format], width=image.width, height=image.height)
        ],
        parameters=upscaled.parameters,
        timings=UpscaleTimingsView(**milliseconds(upscaled.timings)),
        residency=None if upscaled.found is None else HEAT[upscaled.found],
        memory_savings=list(upscaled.savings),
        warnings=list(upscaled.warnings),
    )
