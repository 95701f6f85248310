"""One request between its prompts and its pictures, advanced a step at a time by whoever owns the engine's thread."""

import time
from collections.abc import Sequence

import torch

from ...domain.requests.rendering import LAVISH, Frugality, RawImage
from ...domain.requests.request import GenerationRequest
from ..device.out_of_memory import stage
from ..diffusion.latent_preview import preview
from .components import SdxlModel
from .decode import decode
from .denoise import Forward, Strand, grouped
from .text import encode


class SdxlRun:
    """The images of a request, so many of them at once; the next begins when one is done.

    Engine thread only. Every method that works may raise OutOfMemory with its stage; the model stays as it was.
    """

    def __init__(
        self, model: SdxlModel, request: GenerationRequest, frugality: Frugality = LAVISH, at_once: int = 1
    ) -> None:
        """Encode the prompts and draw the first noise.

        Args:
            model: what to use.
            request: what to make.
            frugality: which of the means that save memory to use.
            at_once: how many of the images go through the UNet together.
        """
        self.model = model
        self.request = request
        self.frugality = frugality
        begun = time.perf_counter()
        with torch.inference_mode(), stage("encode"):
            self._conditioning = encode(model, request)
            self.encode_s = time.perf_counter() - begun
            self.decode_s = 0.0
            self._warnings = list(self._conditioning.warnings)
            self._to_begin = list(enumerate(request.seeds))
            self._strands: dict[int, Strand] = {}
            self._images: dict[int, RawImage] = {}
            self._evaluations = 0
            self._at_once = 1 if frugality.split_guidance else at_once
            self._begin_more()

    @property
    def lane(self) -> tuple[int, int, int]:
        """Equal for runs that may share a forward: same weights, same latent size."""
        return (id(self.model), self.request.width, self.request.height)

    @property
    def strands(self) -> Sequence[Strand]:
        """The images that are being denoised."""
        return tuple(self._strands.values())

    @property
    def done(self) -> int:
        """Evaluations of the UNet so far, of all images."""
        return len(self._images) * self._evaluations + sum(strand.done for strand in self._strands.values())

    @property
    def total(self) -> int:
        """Evaluations of the UNet in all."""
        return self._evaluations * len(self.request.seeds)

    @property
    def rows(self) -> int:
        """Rows of the UNet's batch that the next step takes."""
        return sum(strand.rows for strand in self._strands.values())

    @property
    def finished(self) -> bool:
        """Whether every image is there."""
        return len(self._images) == len(self.request.seeds)

    @property
    def images(self) -> tuple[RawImage, ...]:
        """In the order of the seeds."""
        return tuple(self._images[index] for index in sorted(self._images))

    @property
    def warnings(self) -> tuple[str, ...]:
        """What the sender should know."""
        return tuple(self._warnings)

    @torch.inference_mode()
    def preview(self) -> RawImage:
        """The first unfinished image, small and rough, as the last step leaves it."""
        strand = next(iter(self._strands.values()))
        return preview(strand.estimate(self.model.traits.prediction_type), self.model.preview)

    @torch.inference_mode()
    def settle(self) -> None:
        """Decode the images whose latents are done, and begin the next ones."""
        for index, strand in list(self._strands.items()):
            if not strand.finished:
                continue
            begun = time.perf_counter()
            with stage("decode"):
                latents = strand.latents.to(self.model.dtype)
                image, warning = decode(self.model, latents, tiled=self.frugality.tiled_decode)
            del self._strands[index]
            self._images[index] = image
            if warning is not None and warning not in self._warnings:
                self._warnings.append(warning)
            self.decode_s += time.perf_counter() - begun
        with stage("denoise"):
            self._begin_more()

    def _begin_more(self) -> None:
        while self._to_begin and len(self._strands) < self._at_once:
            index, seed = self._to_begin.pop(0)
            self._strands[index] = strand = Strand(self.model, self.request, self._conditioning, seed)
            self._evaluations = strand.total


class SdxlForwards:
    """Remembers how the rows of a set of strands were laid together, for as long as the set stays the same."""

    def __init__(self) -> None:
        self._laid: list[Forward] = []

    @torch.inference_mode()
    def step(self, runs: Sequence[SdxlRun]) -> dict[SdxlRun, Exception]:
        """Take all strands of some runs of one lane one step further.

        Returns:
            The runs that cannot go on, with the reason.

        Raises:
            OutOfMemory: no strand has moved; fewer runs at once may be the cure.
        """
        with stage("denoise"):
            forwards = self._laid_for(runs)
            predictions = [forward.predictions() for forward in forwards]
        failed: dict[SdxlRun, Exception] = {}
        owners = {strand: run for run in runs for strand in run.strands}
        for forward, found in zip(forwards, predictions, strict=True):
            for strand, prediction in zip(forward.strands, found, strict=True):
                try:
                    strand.advance(prediction)
                except Exception as error:
                    failed[owners[strand]] = error
        return failed

    def forget(self) -> None:
        """Let go of all tensors."""
        self._laid = []

    def _laid_for(self, runs: Sequence[SdxlRun]) -> list[Forward]:
        split = any(run.frugality.split_guidance for run in runs)
        groups = (
            [[strand] for run in runs for strand in run.strands]
            if split
            else grouped(s for run in runs for s in run.strands)
        )
        if [forward.strands for forward in self._laid] != [tuple(group) for group in groups]:
            self._laid = []
            self._laid = [Forward(runs[0].model, group, split_guidance=split) for group in groups]
        return self._laid
