"""Adapters: small files that change the networks of a model while a request runs, such as LoRAs."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal, NewType

import msgspec
from msgspec import Meta

AdapterName = NewType("AdapterName", str)
"""A name in the catalogue's list of adapters. Only the catalogue makes them."""
AdapterAlgorithm = Literal["lora", "loha", "lokr", "full"]
"""Form of the change of a layer's weight: a product of two factors, of two such products, of Kronecker factors, or all of it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AdapterReading:
    """What the header of an adapter's file tells."""

    family: str
    format: str
    """Naming of its tensors: `kohya`, `peft`, `diffusers`."""
    algorithms: tuple[AdapterAlgorithm, ...]
    """Algorithms of its layers, without repetition."""
    components: tuple[str, ...]
    """Networks of a model that it changes."""
    layers: int
    """Number of layers that it changes."""
    dora: bool = False
    """Whether it scales the columns of the changed weights too (DoRA, arXiv:2402.09353)."""
    ranks: tuple[int, ...] = ()
    """Ranks of its factors in ascending order, without repetition; empty if it has none."""
    alphas: tuple[float, ...] = ()
    """Alphas stated in its metadata, without repetition."""
    trigger_words: tuple[str, ...] = ()
    """Words of the captions that it was trained on, the most frequent first, as far as its metadata says."""
    title: str | None = None
    evidence: tuple[str, ...] = ()
    """Evidence for all of this, in words."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AdapterSpec:
    """A catalogue entry of an adapter: everything that is known of it without reading a tensor."""

    name: AdapterName
    path: Path
    nbytes: int
    """Size of its file."""
    numbers: int = 0
    """Numbers in its tensors; 0 if they are not known."""
    version: str
    """Text that changes with its file."""
    reading: AdapterReading | None
    """None if it is unusable."""
    unusable: str | None = None
    """Reason for which it cannot be used; None for a usable one."""
    builtin: bool = False
    """Whether it ships with the package."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AdapterUse:
    """An adapter of a request, and how strongly it acts."""

    name: AdapterName
    version: str
    weight: float
    """Factor of its change of the denoiser."""
    text_weight: float
    """Factor of its change of the text encoders."""


MAX_WEIGHT = 10.0
"""Largest weight of an adapter, in both directions: beyond it pictures are noise, and sums leave the range of 16-bit numbers."""
AdapterWeight = Annotated[float, Meta(ge=-MAX_WEIGHT, le=MAX_WEIGHT)]


class AdapterChoice(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """An adapter that a request or a sidecar names."""

    name: Annotated[
        str,
        Meta(
            min_length=1,
            max_length=256,
            description="Name in `GET /adapters`, or of its file, in any case.",
            examples=["outline"],
        ),
    ]
    weight: Annotated[AdapterWeight, Meta(description="How strongly it changes the denoiser; 0 is not at all.")] = 1.0
    text_weight: (
        Annotated[AdapterWeight, Meta(description="How strongly it changes the text encoders. Default: `weight`.")]
        | None
    ) = None
    version: (
        Annotated[
            str,
            Meta(
                max_length=128,
                description="Its version when an earlier image was made, from a receipt. If its file has changed since, a "
                "warning says so.",
            ),
        ]
        | None
    ) = None
