"""What `POST /generate/{model_name}?dry_run=true` answers."""

import math
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from ....domain.dry_run import DryRunResult, PlannedPass
from ....domain.memory.eviction.eviction_preview import Eviction
from ....domain.memory.ledger import Tier
from ....domain.memory.plan import saved
from ....domain.models.assets import AssetKind
from ....domain.models.spec import HEAT, Heat, PredictionType, TimestepSpacing
from ....domain.requests.inspection import PromptFacts, TextFacts
from ....domain.requests.resolving.resolved_parameters import ResolvedParameters, resolved_parameters


class SamplerPlanView(msgspec.Struct, frozen=True, kw_only=True):
    """The sampler as it would run."""

    name: str
    scheduler: Annotated[str, Meta(description="The class of diffusers.")]
    config: Annotated[dict[str, Any], Meta(description="Everything that it goes by.")]
    prediction_type: PredictionType
    zero_snr: Annotated[bool, Meta(description="Whether the model was trained with zero terminal SNR.")]
    timestep_spacing: Annotated[TimestepSpacing, Meta(description="null: as `config` says.")] | None
    evaluations: Annotated[
        int, Meta(description="Of the denoiser, for one image; second-order samplers take more than one a step.")
    ]
    timesteps: list[float]
    sigmas: Annotated[list[float | None], Meta(description="Noise levels, if the sampler has them.")] | None


class TextPlanView(msgspec.Struct, frozen=True, kw_only=True):
    """A text that a prompt stands for in some of the steps."""

    text: str
    first_step: Annotated[int, Meta(description="Counted from 1, of the steps that are taken.")]
    last_step: int
    part: Annotated[int, Meta(description="Counted from 1; `AND` divides them.")]
    weight: Annotated[float, Meta(description="Of that part in the guidance.")]
    tokens: int
    chunks: int


class PromptPlanView(msgspec.Struct, frozen=True, kw_only=True):
    """A prompt as the text encoders would read it."""

    field: str
    tokens: Annotated[int, Meta(description="Of the whole text, the longest one if it changes.")]
    chunks: Annotated[int, Meta(description="In which it is read, of up to 75 tokens each.")]
    ignored: Annotated[list[str], Meta(description="What would be cut or changed.")]
    schedule: Annotated[list[TextPlanView], Meta(description="The texts that it stands for, by part and step.")]


class MemoryPlanView(msgspec.Struct, frozen=True, kw_only=True):
    """Bytes that the request would need, and that there are."""

    weights_nbytes: (
        Annotated[int, Meta(description="Shared ones and adapters included; null before the download.")] | None
    )
    activation_nbytes: Annotated[
        int, Meta(description="Beside the weights, for images made one at a time: predicted, corrected by experience.")
    ]
    available_nbytes: Annotated[int, Meta(description="What the budget leaves to both.")] | None
    savings: Annotated[list[str], Meta(description="What it would do from the start because memory is short.")]


class PassView(msgspec.Struct, frozen=True, kw_only=True):
    """One run on the device: a pass of the model, or the work of an upscaler between two passes."""

    model: Annotated[str, Meta(description="Of the pool: the model, or `upscaler:<name>`.")]
    width: Annotated[int, Meta(description="Of the image, or of the picture that is enlarged.")]
    height: int
    steps: Annotated[int, Meta(description="Of all images; tiles of an upscaler.")]
    activation_nbytes: int
    savings: list[str]
    run_s: float | None


class EvictionView(msgspec.Struct, frozen=True, kw_only=True):
    """What would make room."""

    model: Annotated[str, Meta(description="Its name; that of an adapter or a VAE if `kind` says so.")]
    kind: AssetKind
    tier: Annotated[Tier, Meta(description="`host`: it leaves memory altogether; `device`: copies leave the device.")]
    components: list[str]
    nbytes: int


class EstimateView(msgspec.Struct, frozen=True, kw_only=True):
    """Seconds, as far as is known from earlier requests; null if nothing is."""

    wait_s: Annotated[float, Meta(description="For the requests before it.")]
    load_s: float | None
    run_s: float | None
    total_s: float | None


class DryRunView(msgspec.Struct, frozen=True, kw_only=True):
    """What would happen to a request that came now. Nothing was loaded, queued or evicted."""

    dry_run: bool
    model: str
    parameters: ResolvedParameters
    sampler: SamplerPlanView
    prompts: Annotated[list[PromptPlanView], Meta(description="Those that act; once where both encoders read one.")]
    memory: MemoryPlanView
    passes: Annotated[
        list[PassView], Meta(description="What would run on the device, in order; two or three with `hires`.")
    ]
    residency: Annotated[Heat, Meta(description="Where the request would find its model: `hot`, `warm` or `cold`.")]
    additions_to_load: Annotated[
        list[str], Meta(description="Adapters and VAEs that would be read from disk, in the order of the request.")
    ]
    download: Annotated[bool, Meta(description="Whether the model's files would be downloaded first.")]
    evictions: Annotated[list[EvictionView], Meta(description="In their order.")]
    waits_for_memory: Annotated[
        bool, Meta(description="Whether running requests must give memory back first; what follows is not foretold.")
    ]
    device: Annotated[str, Meta(description="The device on which it would begin first.")]
    requests_before: Annotated[int, Meta(description="That wait or run now.")]
    estimate: EstimateView
    warnings: list[str]


def dry_run_view(result: DryRunResult) -> DryRunView:
    """Format a rehearsed request for the wire."""
    eviction_preview, estimate = result.eviction_preview, result.estimate
    return DryRunView(
        dry_run=True,
        model=result.spec.name,
        parameters=resolved_parameters(result.request),
        sampler=_sampler(result),
        prompts=[_prompt(prompt) for prompt in result.inspection.prompts],
        memory=MemoryPlanView(
            weights_nbytes=result.weights_nbytes,
            activation_nbytes=result.activation_nbytes,
            available_nbytes=result.available_nbytes,
            savings=list(result.savings),
        ),
        passes=[_pass(each) for each in result.passes],
        residency=HEAT[eviction_preview.residency],
        additions_to_load=[key.name for key in eviction_preview.cold if key.kind != "model"],
        download=result.download,
        evictions=[_eviction(eviction) for eviction in eviction_preview.evictions],
        waits_for_memory=eviction_preview.waits,
        device=result.device,
        requests_before=result.before,
        estimate=EstimateView(
            wait_s=round(estimate.wait_s, 3),
            load_s=_rounded(estimate.load_s),
            run_s=_rounded(estimate.run_s),
            total_s=_rounded(estimate.total_s),
        ),
        warnings=list(result.warnings),
    )


def _sampler(result: DryRunResult) -> SamplerPlanView:
    facts, traits, request = result.inspection.sampler, result.inspection.traits, result.request
    return SamplerPlanView(
        name=str(request.sampler),
        scheduler=facts.scheduler,
        config=dict(facts.config),
        prediction_type=traits.prediction_type,
        zero_snr=traits.zero_snr,
        timestep_spacing=request.timestep_spacing,
        evaluations=len(facts.timesteps),
        timesteps=list(facts.timesteps),
        sigmas=None if facts.sigmas is None else [sigma if math.isfinite(sigma) else None for sigma in facts.sigmas],
    )


def _pass(planned: PlannedPass) -> PassView:
    return PassView(
        model=planned.model,
        width=planned.width,
        height=planned.height,
        steps=planned.steps,
        activation_nbytes=planned.plan.activation_nbytes,
        savings=list(saved(planned.plan.memory_savings)),
        run_s=_rounded(planned.run_s),
    )


def _prompt(facts: PromptFacts) -> PromptPlanView:
    return PromptPlanView(
        field=facts.field,
        tokens=facts.tokens,
        chunks=facts.chunks,
        ignored=list(facts.ignored),
        schedule=[_text(text) for text in facts.schedule],
    )


def _text(facts: TextFacts) -> TextPlanView:
    return TextPlanView(
        text=facts.text,
        first_step=facts.first_step,
        last_step=facts.last_step,
        part=facts.part,
        weight=facts.weight,
        tokens=facts.tokens,
        chunks=facts.chunks,
    )


def _eviction(eviction: Eviction) -> EvictionView:
    return EvictionView(
        model=eviction.asset.name,
        kind=eviction.asset.kind,
        tier=eviction.tier,
        components=list(eviction.components),
        nbytes=eviction.nbytes,
    )


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 3)
