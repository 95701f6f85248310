"""`GET /samplers`."""

from typing import Annotated

import msgspec
from litestar import get
from msgspec import Meta

from ...domain.requests.samplers import SAMPLERS, SigmaSchedule
from ..auth.requirements import requires
from ..http.route_groups import in_group


class SamplerListing(msgspec.Struct, frozen=True, kw_only=True):
    """One sampler."""

    name: str
    label: Annotated[str, Meta(description="As AUTOMATIC1111's web UI shows it.")]
    schedules: Annotated[list[SigmaSchedule], Meta(description="Schedules that it can be combined with.")]
    zero_snr: Annotated[bool, Meta(description="Whether it suits models with zero terminal SNR.")]


@get(
    "/samplers",
    summary="List samplers",
    response_description="The samplers.",
    tags=["models"],
    opt=in_group("models") | requires("generate", "read"),
    sync_to_thread=False,
)
def list_samplers() -> list[SamplerListing]:
    """List the samplers that a request may name, each with its schedules."""
    return [
        SamplerListing(name=spec.name, label=spec.label, schedules=list(spec.schedules), zero_snr=spec.zero_snr)
        for spec in SAMPLERS
    ]
