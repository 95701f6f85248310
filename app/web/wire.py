"""What goes over the wire, in JSON."""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from ..domain.books import Found
from ..domain.generation import GenerationRequest, OutputFormat
from ..domain.generator import Generated, Timings
from ..domain.model import Checkpoint, Folder, HubRepository, ModelOverrides, ModelSpec, ModelTraits, Residency
from ..domain.pool_report import ModelStatus

MEDIA_TYPES: dict[OutputFormat, str] = {"png": "image/png", "jpeg": "image/jpeg", "webp": "image/webp"}


class ImageView(msgspec.Struct, frozen=True, kw_only=True):
    """One picture."""

    seed: int
    """Asked for alone, this seed gives the same picture again."""
    image: Annotated[bytes, Meta(description="The encoded file, in base64.")]
    media_type: str
    width: int
    height: int


class TimingsView(msgspec.Struct, frozen=True, kw_only=True):
    """Where the time went, in milliseconds."""

    queue_ms: float
    load_ms: float
    encode_ms: float
    denoise_ms: float
    decode_ms: float
    write_ms: float
    total_ms: float


class ParametersView(msgspec.Struct, frozen=True, kw_only=True):
    """The parameters as they were used, every default filled in."""

    prompt: str
    prompt_2: str
    negative_prompt: str
    negative_prompt_2: str
    num_inference_steps: int
    guidance_scale: float
    guidance_rescale: float
    width: int
    height: int
    seed: int
    n: int
    sampler: str
    clip_skip: int
    output_format: OutputFormat
    output_quality: int


class GenerateView(msgspec.Struct, frozen=True, kw_only=True):
    """The answer to a generation."""

    id: str
    model: str
    images: list[ImageView]
    parameters: ParametersView
    timings: TimingsView
    residency: Found
    """Where the request found its model: `hot` on the device, `warm` in host memory, `cold` on disk."""
    memory_savings: list[str]
    """What was done because memory was short: `drop_idle`, `tiled_decode`, `split_guidance`; usually nothing."""
    warnings: list[str]


class ProgressView(msgspec.Struct, frozen=True, kw_only=True):
    """How far a load or a download is."""

    phase: str
    done_nbytes: int
    total_nbytes: int


class ModelView(msgspec.Struct, frozen=True, kw_only=True):
    """One catalogue entry: what it is, what its defaults are, where it is now."""

    name: str
    source: Literal["hub", "checkpoint", "folder"]
    repo: str | None
    usable: bool
    unusable: str | None
    """Why the files cannot be used."""
    traits: ModelTraits
    evidence: list[str]
    """How the traits were found."""
    overrides: ModelOverrides
    """What the sidecar and the settings say."""
    size_nbytes: int | None
    """On disk; null until the repository has been downloaded."""
    residency: Residency
    memory_nbytes: int
    in_use: int
    """Requests that hold the model now."""
    loading: ProgressView | None
    idle_s: float | None


class ServiceView(msgspec.Struct, frozen=True, kw_only=True):
    """Service facts."""

    service: str
    version: str
    device: str
    ready: bool
    default_model: str | None
    models: list[str]
    """Usable models."""
    loaded: list[str]
    unusable: list[str]
    waiting: int
    documentation: str


class LoadView(msgspec.Struct, frozen=True, kw_only=True):
    """The answer to a load or an unload."""

    name: str
    residency: Residency
    was: Residency


class HealthView(msgspec.Struct, frozen=True, kw_only=True):
    """Liveness or readiness."""

    status: Literal["live", "ready", "starting"]
    detail: str


def generate_view(generated: Generated) -> GenerateView:
    """A finished request for the wire."""
    media_type = MEDIA_TYPES[generated.request.output_format]
    return GenerateView(
        id=generated.id,
        model=generated.request.model,
        images=[
            ImageView(seed=image.seed, image=image.data, media_type=media_type, width=image.width, height=image.height)
            for image in generated.images
        ],
        parameters=parameters_view(generated.request),
        timings=timings_view(generated.timings),
        residency=generated.found,
        memory_savings=list(generated.savings),
        warnings=list(generated.warnings),
    )


def parameters_view(request: GenerationRequest) -> ParametersView:
    """Resolved parameters for the wire."""
    return ParametersView(
        prompt=request.prompt,
        prompt_2=request.prompt_2,
        negative_prompt=request.negative_prompt,
        negative_prompt_2=request.negative_prompt_2,
        num_inference_steps=request.num_inference_steps,
        guidance_scale=request.guidance_scale,
        guidance_rescale=request.guidance_rescale,
        width=request.width,
        height=request.height,
        seed=request.seeds[0],
        n=len(request.seeds),
        sampler=str(request.sampler),
        clip_skip=request.clip_skip,
        output_format=request.output_format,
        output_quality=request.output_quality,
    )


def timings_view(timings: Timings) -> TimingsView:
    """Seconds to milliseconds, to a hundredth."""
    return TimingsView(
        queue_ms=_ms(timings.queue_s),
        load_ms=_ms(timings.load_s),
        encode_ms=_ms(timings.encode_s),
        denoise_ms=_ms(timings.denoise_s),
        decode_ms=_ms(timings.decode_s),
        write_ms=_ms(timings.write_s),
        total_ms=_ms(timings.total_s),
    )


def model_view(spec: ModelSpec, status: ModelStatus) -> ModelView:
    """A catalogue entry and its state for the wire. Shows no path of the server."""
    match spec.source:
        case HubRepository(repo=repo):
            source, repository = "hub", repo
        case Checkpoint():
            source, repository = "checkpoint", None
        case Folder():
            source, repository = "folder", None
    loading = status.loading
    return ModelView(
        name=spec.name,
        source=source,
        repo=repository,
        usable=spec.unusable is None,
        unusable=spec.unusable,
        traits=spec.traits,
        evidence=list(spec.evidence),
        overrides=spec.overrides,
        size_nbytes=spec.nbytes,
        residency=status.residency,
        memory_nbytes=status.nbytes,
        in_use=status.leases,
        loading=ProgressView(phase=loading.phase, done_nbytes=loading.done_nbytes, total_nbytes=loading.total_nbytes)
        if loading
        else None,
        idle_s=round(status.last_used_s_ago, 1) if status.last_used_s_ago is not None else None,
    )


def _ms(seconds: float) -> float:
    return round(max(seconds, 0.0) * 1000, 2)
