"""What the engine asks of a family: how its models are loaded, stepped and inspected."""

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch

from ...domain.families.registry import families, family_named, imported, upscalers
from ...domain.models.adapters import AdapterSpec
from ...domain.models.components import OnLoad
from ...domain.models.spec import ModelSpec
from ...domain.models.vaes import VaeSpec
from ...domain.requests.early_end import Ending
from ...domain.requests.inspection import Inspection
from ...domain.requests.pictures.source import Latents
from ...domain.requests.rendering import MemorySavings, RawImage
from ...domain.requests.request import GenerationRequest
from ..device.precision import FileWeights, Precision
from ..diffusion.load_context import Loading


class Run(Protocol):
    """One request between its prompts and its pictures; made by `Family.begin`, which encodes the prompts.

    Engine thread only. Methods that compute raise OutOfMemory with their stage, and leave the model as it was.
    """

    encode_s: float
    decode_s: float

    @property
    def lane(self) -> object:
        """Equal for runs that may share a forward."""
        ...

    @property
    def done(self) -> int:
        """Evaluations of the denoiser so far, of all images."""
        ...

    @property
    def total(self) -> int:
        """Evaluations in all."""
        ...

    @property
    def rows(self) -> int:
        """Rows that the next step adds to the batch."""
        ...

    @property
    def finished(self) -> bool:
        """Whether every image is there."""
        ...

    @property
    def images(self) -> tuple[RawImage, ...]:
        """In the order of the seeds."""
        ...

    @property
    def latents(self) -> tuple[Latents, ...]:
        """In the order of the seeds, if the request becomes latents and no images."""
        ...

    @property
    def warnings(self) -> tuple[str, ...]:
        """What the sender should know."""
        ...

    def park(self) -> None:
        """Let go of all that lies in the memory of the weights: while the device works for others, they may leave it."""
        ...

    def resume(self, networks: Any, adapters: Sequence[Any], vae: Any) -> None:
        """Go on after a time in which the device worked for others.

        Args:
            networks: the model, which may have been loaded anew.
            adapters: as for `FamilyRuntime.begin`.
            vae: as for `FamilyRuntime.begin`.
        """
        ...

    def preview(self) -> RawImage:
        """Draw a small, rough picture of the first unfinished image."""
        ...

    @property
    def unfinished(self) -> frozenset[int]:
        """Places of the images that ended before their last step."""
        ...

    def end_early(self, ending: Ending) -> None:
        """Let `decode_next` decode what is denoised so far, after at least one step; with the request, begin no more images."""
        ...

    @property
    def decoding(self) -> bool:
        """Whether latents are done whose image is not: then `decode_next` is due, and no step."""
        ...

    def decode_next(self) -> None:
        """Decode an image whose latents are done, or a part of it after which the device may be left; begin the next ones."""
        ...


class BatchedForward(Protocol):
    """Takes the steps of the runs of one engine; may remember what stays the same from step to step."""

    def step(self, runs: Sequence[Any]) -> "dict[Any, Exception]":
        """Take runs of one lane one step further; returns those that cannot go on, with the reason.

        Raises:
            OutOfMemory: no run has moved; fewer at once may be the cure.
        """
        ...

    def forget(self) -> None:
        """Let go of all tensors."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class FamilyRuntime:
    """How models of one family are loaded and run. The object that `load` returns lists its `components`."""

    load: Callable[[ModelSpec, Path, Precision, OnLoad, Loading], Any]
    """Loads a model from its entry and its files."""
    weight_summary: Callable[[ModelSpec, Path], FileWeights]
    """Sums up the weights that `load` would read, from headers alone."""
    load_adapter: Callable[[AdapterSpec, torch.dtype, OnLoad, Loading], Any]
    """Loads an adapter from its entry, in a dtype; the object that it returns lists its `components`."""
    load_vae: Callable[[VaeSpec, Precision, OnLoad, Loading], Any]
    """Loads a VAE from its entry; the object that it returns lists its `components`."""
    begin: Callable[[Any, Any, MemorySavings, int, Sequence[Any], Any], Run]
    """Begins a request of the kind that the family serves on a model, with the savings of memory, the number of images that are
    denoised together, the adapters of its assets in their order, and the VAE among them, or None."""
    batched_forward: Callable[[], BatchedForward]
    cell_px: int
    """Side in pixels of the square that one cell of the denoiser's input stands for."""
    inspector: Callable[[ModelSpec, Path | None], Callable[[GenerationRequest], Inspection]]
    """Makes a reader of requests from an entry and its files, None if they are not on disk; no weights are read."""


def runtime_of(spec: ModelSpec) -> FamilyRuntime:
    """Import the runtime of a model's family."""
    return runtime_named(spec.traits.family)


def runtime_named(family: str) -> FamilyRuntime:
    """Import the runtime of a family by its name."""
    return imported(family_named(family).runtime)


def import_runtimes() -> None:
    """Import the runtimes of all families, which takes seconds: in the event loop's thread every answer would wait for it.

    A runtime that cannot be imported is the fault of its own models only; their requests try again and say why.
    """
    for family in (*families(), upscalers()):
        with suppress(ImportError):
            imported(family.runtime)
