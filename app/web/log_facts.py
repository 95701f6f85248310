"""Facts about a request for its line in the access log, from the domain's objects."""

from typing import Any

from litestar import Request

from ..domain.generator import Generated
from ..domain.jobs.tracked_job import TrackedJob
from ..domain.models.spec import HEAT
from ..domain.requests.request import GenerationRequest
from ..domain.upscaling import Upscaled
from .http.timings import milliseconds
from .middleware.access_log import note_facts


def note_generation(request: Request[Any, Any, Any], generated: Generated) -> None:
    """Add to the request's line what was generated, and the duration of each phase."""
    asked, durations = generated.request, milliseconds(generated.timings)
    durations.pop("total_ms")  # the line has the duration of the whole HTTP request
    note_facts(
        request,
        {
            "model": asked.model,
            "residency": HEAT[generated.found],
            "seed": asked.seeds[0],
            "n": len(asked.seeds),
            "size": f"{asked.width}x{asked.height}",
            "steps": asked.num_inference_steps,
            "sampler": str(asked.sampler),
            **_additions(asked),
            **durations,
            "memory_savings": list(generated.savings),
            "warnings": len(generated.warnings),
            "prompt": asked.prompt,
        },
    )


def note_upscaling(request: Request[Any, Any, Any], upscaled: Upscaled) -> None:
    """Add to the request's line what was enlarged, and the duration of each phase."""
    durations = milliseconds(upscaled.timings)
    durations.pop("total_ms")
    note_facts(
        request,
        {
            "upscaler": upscaled.parameters.upscaler,
            "residency": None if upscaled.found is None else HEAT[upscaled.found],
            "size": f"{upscaled.image.width}x{upscaled.image.height}",
            **durations,
            "memory_savings": list(upscaled.savings),
            "warnings": len(upscaled.warnings),
        },
    )


def _additions(asked: GenerationRequest) -> dict[str, Any]:
    """Name what was added to the model, if anything was."""
    assets = asked.assets
    adapters = {"adapters": [f"{use.name}:{use.weight:g}" for use in assets.adapters]} if assets.adapters else {}
    return {**adapters, **({"vae": assets.vae.name} if assets.vae is not None else {})}


def note_job(request: Request[Any, Any, Any], job: TrackedJob) -> None:
    """Add to the request's line which job it is about."""
    note_facts(request, {"model": job.model, "job": job.id})
