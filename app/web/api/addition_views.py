"""Adapters and VAEs over the wire, in JSON."""

from typing import Annotated

import msgspec
from msgspec import Meta

from ...domain.memory.snapshot import AssetStatus
from ...domain.models.adapters import AdapterAlgorithm, AdapterReading, AdapterSpec
from ...domain.models.spec import Residency
from ...domain.models.vaes import VaeSpec
from .views import ProgressView, progress_view


class AdapterFacts(msgspec.Struct, frozen=True, kw_only=True):
    """What the header of an adapter's file tells."""

    family: Annotated[str, Meta(description="Kind of the models that it is for.")]
    format: Annotated[str, Meta(description="Naming of its tensors: `kohya`, `peft`, `diffusers`.")]
    algorithms: list[AdapterAlgorithm]
    dora: Annotated[bool, Meta(description="Whether it scales the columns of the weights too (arXiv:2402.09353).")]
    ranks: Annotated[list[int], Meta(description="Ranks of its factors, in ascending order.")]
    alphas: Annotated[list[float], Meta(description="Alphas that its metadata states.")]
    components: Annotated[list[str], Meta(description="Networks of a model that it changes.")]
    layers: Annotated[int, Meta(description="Number of layers that it changes.")]
    title: str | None
    trigger_words: Annotated[
        list[str], Meta(description="Words of the captions that it was trained on, the most frequent first.")
    ]


class AdapterView(msgspec.Struct, frozen=True, kw_only=True):
    """One adapter: what it is, and where it is in memory."""

    name: str
    usable: bool
    unusable: Annotated[str, Meta(description="Why the file cannot be used.")] | None
    version: Annotated[str, Meta(description="Text that changes with the file; receipts state it.")]
    size_nbytes: Annotated[int, Meta(description="On disk.")]
    facts: Annotated[AdapterFacts, Meta(description="null if it is unusable.")] | None
    evidence: Annotated[list[str], Meta(description="How the facts were found.")]
    builtin: Annotated[bool, Meta(description="Whether it ships with the server.")]
    residency: Residency
    memory_nbytes: int
    in_use: Annotated[int, Meta(description="Requests that hold it or wait for it.")]
    loading: ProgressView | None
    idle_s: Annotated[float, Meta(description="Seconds since its last use.")] | None


class VaeView(msgspec.Struct, frozen=True, kw_only=True):
    """One VAE: what it is, and where it is in memory."""

    name: str
    usable: bool
    unusable: Annotated[str, Meta(description="Why the file cannot be used.")] | None
    version: Annotated[str, Meta(description="Text that changes with the file; receipts state it.")]
    size_nbytes: Annotated[int, Meta(description="On disk.")]
    family: Annotated[str, Meta(description="Kind of the models that it is for; null if it is unusable.")] | None
    evidence: Annotated[list[str], Meta(description="How that was found.")]
    residency: Residency
    memory_nbytes: int
    in_use: Annotated[int, Meta(description="Requests that hold it or wait for it.")]
    idle_s: Annotated[float, Meta(description="Seconds since its last use.")] | None


def adapter_view(spec: AdapterSpec, status: AssetStatus) -> AdapterView:
    """Format the entry of an adapter and its state for the wire. Shows no path of the server."""
    reading = spec.reading
    return AdapterView(
        name=spec.name,
        usable=spec.unusable is None,
        unusable=spec.unusable,
        version=spec.version,
        size_nbytes=spec.nbytes,
        facts=None if reading is None else _facts(reading),
        evidence=[] if reading is None else list(reading.evidence),
        builtin=spec.builtin,
        residency=status.residency,
        memory_nbytes=status.nbytes,
        in_use=status.leases,
        loading=progress_view(status.loading),
        idle_s=_rounded(status.last_used_s_ago),
    )


def vae_view(spec: VaeSpec, status: AssetStatus) -> VaeView:
    """Format the entry of a VAE and its state for the wire. Shows no path of the server."""
    return VaeView(
        name=spec.name,
        usable=spec.unusable is None,
        unusable=spec.unusable,
        version=spec.version,
        size_nbytes=spec.nbytes,
        family=None if spec.reading is None else spec.reading.family,
        evidence=[] if spec.reading is None else list(spec.reading.evidence),
        residency=status.residency,
        memory_nbytes=status.nbytes,
        in_use=status.leases,
        idle_s=_rounded(status.last_used_s_ago),
    )


def _facts(reading: AdapterReading) -> AdapterFacts:
    return AdapterFacts(
        family=reading.family,
        format=reading.format,
        algorithms=list(reading.algorithms),
        dora=reading.dora,
        ranks=list(reading.ranks),
        alphas=list(reading.alphas),
        components=list(reading.components),
        layers=reading.layers,
        title=reading.title,
        trigger_words=list(reading.trigger_words),
    )


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 1)
