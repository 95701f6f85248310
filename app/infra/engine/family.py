"""Families of models: what differs between them stands behind these functions. Adding one adds a line here."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from ...domain.models.components import OnLoad
from ...domain.models.spec import ModelSpec
from ...domain.requests.inspection import Inspection
from ...domain.requests.rendering import MemorySavings, RawImage
from ...domain.requests.request import GenerationRequest
from ..device.precision import FileWeights, Precision
from ..diffusion.load_context import Loading
from ..sdxl.inspect import SdxlInspector
from ..sdxl.load import load_model, weight_summary
from ..sdxl.run import SdxlBatchedForward, SdxlRun


class Run(Protocol):
    """One request between its prompts and its pictures; made by `Family.begin`, which encodes the prompts.

    Engine thread only. What works raises OutOfMemory with its stage, and leaves the model as it was.
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
    def warnings(self) -> tuple[str, ...]:
        """What the sender should know."""
        ...

    def preview(self) -> RawImage:
        """A small, rough picture of the first unfinished image."""
        ...

    def finish_images(self) -> None:
        """Decode the images whose latents are done, and begin the next ones."""
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


@dataclass(frozen=True, slots=True)
class Family:
    """How models of one family are loaded and run. What `load` returns lists its `components`."""

    load: Callable[[ModelSpec, Path, Precision, OnLoad, Loading], Any]
    """From an entry and its files."""
    weights: Callable[[ModelSpec, Path], FileWeights]
    """What the files say of the weights that `load` would read."""
    begin: Callable[[Any, GenerationRequest, MemorySavings, int], Run]
    """From a model, a request, what is to be saved, and how many images go through the denoiser at once."""
    batched_forward: Callable[[], BatchedForward]
    inspector: Callable[[ModelSpec, Path | None], Callable[[GenerationRequest], Inspection]]
    """From an entry and its files, None where they are not on disk: what reads requests without any weights."""


FAMILIES = {
    "sdxl": Family(
        load=load_model,
        weights=weight_summary,
        begin=SdxlRun,
        batched_forward=SdxlBatchedForward,
        inspector=SdxlInspector,
    )
}
