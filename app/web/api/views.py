"""What goes over the wire, in JSON."""

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from ...domain.generator import Generated
from ...domain.memory.snapshot import AssetStatus
from ...domain.models.components import LoadProgress
from ...domain.models.spec import (
    HEAT,
    Checkpoint,
    FewStepKind,
    Folder,
    Heat,
    HubRepository,
    ModelOverrides,
    ModelSpec,
    ModelTraits,
    Residency,
)
from ...domain.requests.parameters import Limits
from ...domain.requests.resolving.resolved_parameters import ResolvedParameters, resolved_parameters
from ..http.media_types import IMAGES
from ..http.timings import milliseconds


class ImageView(msgspec.Struct, frozen=True, kw_only=True):
    """One picture."""

    seed: Annotated[int, Meta(description="Asked for alone, this seed gives the same picture again.")]
    image: Annotated[bytes, Meta(description="The encoded file, in base64.")]
    media_type: str
    width: int
    height: int


class TimingsView(msgspec.Struct, frozen=True, kw_only=True):
    """Where the time went, in milliseconds."""

    start_ms: Annotated[float, Meta(description="Wait for the engine's start; 0 once it runs.")]
    queue_ms: float
    load_ms: float
    encode_ms: float
    denoise_ms: float
    decode_ms: float
    upscale_ms: Annotated[float, Meta(description="Enlarging the picture before a second pass.")]
    write_ms: float
    total_ms: float


class GenerateView(msgspec.Struct, frozen=True, kw_only=True):
    """The answer to a generation."""

    id: str
    model: str
    images: list[ImageView]
    parameters: ResolvedParameters
    timings: TimingsView
    residency: Annotated[
        Heat,
        Meta(
            description="Where the request found its model: `hot` on the device, `warm` in host memory, `cold` on disk."
        ),
    ]
    memory_savings: Annotated[
        list[str],
        Meta(
            description="What was done because memory was short: `drop_idle`, `one_by_one`, `tiled_decode`, "
            "`small_tiles`, `split_guidance`; usually nothing."
        ),
    ]
    warnings: Annotated[list[str], Meta(description="What was changed, ignored or cut.")]


class ProgressView(msgspec.Struct, frozen=True, kw_only=True):
    """How far a load or a download is."""

    phase: str
    done_nbytes: int
    total_nbytes: int


class OverridesView(ModelOverrides, frozen=True, kw_only=True):
    """What a person has said about a model; null: as detected."""

    few_step: (  # pyright: ignore[reportIncompatibleVariableOverride] - one type of value, as clients' languages want it
        Annotated[
            FewStepKind | Literal["none"],
            Meta(description="`none`: it is no few-step model, though its name sounds like one."),
        ]
        | None
    ) = None


class ModelView(msgspec.Struct, frozen=True, kw_only=True):
    """One catalogue entry: its traits, its defaults, its residency."""

    name: str
    aliases: Annotated[list[str], Meta(description="Other names that it is found by.")]
    source: Literal["hub", "checkpoint", "folder"]
    repo: str | None
    usable: bool
    unusable: Annotated[str, Meta(description="Why the files cannot be used.")] | None
    traits: ModelTraits
    evidence: Annotated[list[str], Meta(description="How the traits were found.")]
    overrides: Annotated[OverridesView, Meta(description="What the sidecar and the settings say.")]
    size_nbytes: Annotated[int, Meta(description="On disk; null until the repository has been downloaded.")] | None
    residency: Residency
    memory_nbytes: int
    in_use: Annotated[int, Meta(description="Requests that hold the model or wait for it.")]
    pinned: Annotated[bool, Meta(description="Whether it is never evicted.")]
    loading: ProgressView | None
    idle_s: Annotated[float, Meta(description="Seconds since its last use.")] | None


class LimitsView(msgspec.Struct, frozen=True, kw_only=True):
    """Limits of one request, from the settings."""

    max_steps: int
    max_pixels: Annotated[int, Meta(description="Width times height of an image.")]
    min_side_px: int
    max_side_px: int
    max_n: int
    max_image_bytes: Annotated[int, Meta(description="Of an uploaded file.")]
    max_image_pixels: Annotated[int, Meta(description="Width times height of an uploaded picture.")]
    max_adapters: int
    max_prompt_chars: int


class ServiceView(msgspec.Struct, frozen=True, kw_only=True):
    """Service facts."""

    service: str
    version: str
    device: str
    ready: bool
    default_model: str | None
    models: Annotated[list[str], Meta(description="Usable models.")]
    aliases: Annotated[dict[str, str], Meta(description="Other names, with the models that they stand for.")]
    adapters: Annotated[
        list[str], Meta(description="Usable adapters whose headers have been read; `GET /adapters` tells more.")
    ]
    vaes: Annotated[list[str], Meta(description="Usable VAEs whose headers have been read; `GET /vaes` tells more.")]
    upscalers: Annotated[list[str], Meta(description="Usable upscalers beside `lanczos`; `GET /upscalers` has more.")]
    embeddings: Annotated[list[str], Meta(description="Textual inversion embeddings that prompts may name.")]
    loaded: list[str]
    unusable: list[str]
    limits: LimitsView
    waiting: int
    documentation: str


class LoadView(msgspec.Struct, frozen=True, kw_only=True):
    """The answer to a load or an unload."""

    name: str
    residency: Residency
    was: Residency


class HealthView(msgspec.Struct, frozen=True, kw_only=True):
    """Liveness or readiness."""

    status: Annotated[
        Literal["live", "ready", "starting", "failed"], Meta(description="`failed`: only a restart helps.")
    ]
    detail: str


def generate_view(generated: Generated) -> GenerateView:
    """Format a finished request for the wire."""
    media_type = IMAGES[generated.request.output_format]
    return GenerateView(
        id=generated.id,
        model=generated.request.model,
        images=[
            ImageView(seed=image.seed, image=image.data, media_type=media_type, width=image.width, height=image.height)
            for image in generated.images
        ],
        parameters=resolved_parameters(generated.request),
        timings=TimingsView(**milliseconds(generated.timings)),
        residency=HEAT[generated.found],
        memory_savings=list(generated.savings),
        warnings=list(generated.warnings),
    )


def limits_view(limits: Limits) -> LimitsView:
    """Format the limits of one request for the wire."""
    return LimitsView(**{name: getattr(limits, name) for name in LimitsView.__struct_fields__})


def progress_view(loading: LoadProgress | None) -> ProgressView | None:
    """Format the progress of a load."""
    if loading is None:
        return None
    return ProgressView(phase=loading.phase, done_nbytes=loading.done_nbytes, total_nbytes=loading.total_nbytes)


def _overrides_view(overrides: ModelOverrides) -> OverridesView:
    stated: dict[str, Any] = {name: getattr(overrides, name) for name in ModelOverrides.__struct_fields__}
    if overrides.few_step is False:
        stated["few_step"] = "none"
    return OverridesView(**stated)


def model_view(spec: ModelSpec, status: AssetStatus) -> ModelView:
    """Format a catalogue entry and its state for the wire. Shows no path of the server."""
    match spec.source:
        case HubRepository(repo=repo):
            source, repository = "hub", repo
        case Checkpoint():
            source, repository = "checkpoint", None
        case Folder():
            source, repository = "folder", None
    return ModelView(
        name=spec.name,
        aliases=list(spec.aliases),
        source=source,
        repo=repository,
        usable=spec.unusable is None,
        unusable=spec.unusable,
        traits=spec.traits,
        evidence=list(spec.evidence),
        overrides=_overrides_view(spec.overrides),
        size_nbytes=spec.nbytes,
        residency=status.residency,
        memory_nbytes=status.nbytes,
        in_use=status.leases,
        pinned=status.pinned,
        loading=progress_view(status.loading),
        idle_s=round(status.last_used_s_ago, 1) if status.last_used_s_ago is not None else None,
    )
