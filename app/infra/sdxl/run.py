"""One request while its images are made; the engine's thread advances it step by step."""

import time
from collections.abc import Sequence

import torch

from ...domain.requests.early_end import Ending
from ...domain.requests.pictures.source import FromLatents, FromPictures, Latents
from ...domain.requests.rendering import NO_SAVINGS, MemorySavings, RawImage
from ...domain.requests.request import GenerationRequest
from ..device.out_of_memory import stage
from ..diffusion.latent_preview import preview
from .adapters.adapted import Adapted, adapt
from .adapters.adapters import SdxlAdapter
from .denoise import Forward, ImageDenoise, grouped
from .latents.decode import ImageDecode
from .latents.encode_image import StartingPoint, encode_source, refuse_without_encoder
from .latents.enlarged_latents import kept
from .loading.components import SdxlModel
from .text import encode
from .vae import SdxlVae

_ONE_COLOUR = (
    "An image came out in one colour. If every image of this model does, its VAE is damaged: download the file again."
)


class SdxlRun:
    """The images of a request, up to a number at once; the next begins when one is done.

    Engine thread only. Methods that compute may raise OutOfMemory with their stage; the model stays as it was.
    """

    def __init__(
        self,
        model: SdxlModel,
        request: GenerationRequest,
        memory_savings: MemorySavings = NO_SAVINGS,
        at_once: int = 1,
        adapters: Sequence[SdxlAdapter] = (),
        vae: SdxlVae | None = None,
    ) -> None:
        """Encode the prompts and draw the first noise.

        Args:
            model: the loaded model.
            request: the resolved request.
            memory_savings: means of saving memory to apply.
            at_once: number of images that are denoised together.
            adapters: loaded adapters, in the order of the request's assets.
            vae: VAE that replaces the model's own.
        """
        assert len(adapters) == len(request.assets.adapters)
        self.model = model
        # Apart from `model`: requests that differ in their VAE share steps.
        self._with_vae = model if vae is None else vae.in_place_of(model)
        self.request = request
        self.memory_savings = memory_savings
        begun = time.perf_counter()
        with torch.inference_mode(), stage("encode"):
            self._adapted = adapt(model, request.assets.adapters, adapters)
            self._conditioning = encode(model, request, adapters, self._adapted)
        with torch.inference_mode(), stage("encode_image"):
            if request.becomes == "pictures":  # told now, and not after the first pass
                refuse_without_encoder(self._with_vae, "hires.upscaler")
            self._start_from = None if self._starts_differ else self._encoded_start(0)
        with torch.inference_mode(), stage("denoise"):
            self.encode_s = time.perf_counter() - begun
            self.decode_s = 0.0
            self._warnings = [*(self._adapted.warnings if self._adapted else ()), *self._conditioning.warnings]
            self._to_begin = list(enumerate(request.seeds))
            self._denoises: dict[int, ImageDenoise] = {}
            self._decoding: ImageDecode | None = None
            self._images: dict[int, RawImage] = {}
            self._unfinished: set[int] = set()
            self._latents: dict[int, Latents] = {}
            self._evaluations = 0
            self._at_once = 1 if memory_savings.split_guidance else at_once
            self._begin_more()

    @property
    def lane(self) -> tuple[int, int, int]:
        """Equal for runs that may share a forward: the same UNet, which a preset has in common with its base, and latent size."""
        return (id(self.model.unet), self.request.width, self.request.height)

    @property
    def denoises(self) -> Sequence[ImageDenoise]:
        """The images that are being denoised."""
        return tuple(self._denoises.values())

    @property
    def done(self) -> int:
        """Evaluations of the UNet so far, of all images."""
        return self._ended * self._evaluations + sum(denoise.done for denoise in self._denoises.values())

    @property
    def total(self) -> int:
        """Evaluations of the UNet in all."""
        return self._evaluations * len(self.request.seeds)

    @property
    def rows(self) -> int:
        """Rows of the UNet's batch that the next step takes."""
        return sum(denoise.rows for denoise in self._denoises.values())

    @property
    def finished(self) -> bool:
        """Whether every image is there."""
        return not self._denoises and not self._to_begin

    @property
    def decoding(self) -> bool:
        """Whether latents are done whose image is not."""
        return any(denoise.finished for denoise in self._denoises.values())

    @property
    def images(self) -> tuple[RawImage, ...]:
        """Finished images in the order of the seeds."""
        return tuple(self._images[index] for index in sorted(self._images))

    @property
    def unfinished(self) -> frozenset[int]:
        """Places of the images that ended before their last step."""
        return frozenset(self._unfinished)

    @property
    def latents(self) -> tuple[Latents, ...]:
        """Latents in the order of the seeds, if the request becomes latents."""
        return tuple(self._latents[index] for index in sorted(self._latents))

    @property
    def warnings(self) -> tuple[str, ...]:
        """Warnings for the client."""
        return tuple(self._warnings)

    def park(self) -> None:
        """Let go of the adapters: the changes of layers are views of their factors, and would keep a copy that was dropped.

        Decoded tiles move to the host, because the ledger counts them on the device only while the request runs there.
        """
        self._use(None)
        if self._decoding is not None:
            self._decoding.move(torch.device("cpu"))

    def resume(self, networks: SdxlModel, adapters: Sequence[SdxlAdapter], vae: SdxlVae | None) -> None:
        """Go on with a model and adapters that may have been loaded anew; their weights are equal, so the images are too."""
        self.model = networks
        self._with_vae = networks if vae is None else vae.in_place_of(networks)
        self._use(adapt(networks, self.request.assets.adapters, adapters))
        if self._decoding is not None:
            with stage("decode"):
                self._decoding.move(self._with_vae.vae.device)

    def _use(self, adapted: Adapted | None) -> None:
        self._adapted = adapted
        for denoise in self._denoises.values():
            denoise.use(adapted)

    @torch.inference_mode()
    def preview(self) -> RawImage:
        """Draw the first unfinished image, small and rough, as of the last step."""
        denoise = next(iter(self._denoises.values()))
        return preview(denoise.estimate(self.model.traits.prediction_type), self.model.preview)

    @torch.inference_mode()
    def end_early(self, ending: Ending) -> None:
        """Let `decode_next` decode the estimates of the images that are being denoised."""
        for index, denoise in self._denoises.items():
            if not denoise.finished:
                denoise.end_early(self.model.traits.prediction_type)
                self._unfinished.add(index)
        if ending == "request":
            self._to_begin.clear()

    @torch.inference_mode()
    def decode_next(self) -> None:
        """Decode the next image whose latents are done, or its next tile; begin more images once none is left to decode."""
        index, denoise = next((index, denoise) for index, denoise in self._denoises.items() if denoise.finished)
        begun = time.perf_counter()
        with stage("decode"):
            ended = self._end(index, denoise)
        self.decode_s += time.perf_counter() - begun
        if ended:
            del self._denoises[index]
        if not self.decoding:
            with stage("denoise"):
                self._begin_more()

    @property
    def _ended(self) -> int:
        """Number of images that are done."""
        return len(self._images) + len(self._latents)

    @property
    def _starts_differ(self) -> bool:
        """Whether each image begins from a picture or latents of its own."""
        return isinstance(self.request.source, (FromPictures, FromLatents))

    def _encoded_start(self, index: int) -> StartingPoint | None:
        with stage("encode_image"):
            source, tiled = self.request.source, self.memory_savings.tiled_decode
            size_px = (self.request.width, self.request.height)
            return encode_source(self._with_vae, source, size_px, index, tiled=tiled)

    def _end(self, index: int, denoise: ImageDenoise) -> bool:
        """Decode a part of the latents of an image, or keep them for the next pass; returns whether nothing is left to do."""
        if self.request.becomes == "latents":
            self._latents[index] = kept(denoise.latents)
            return True
        if self._decoding is None:
            latents = denoise.latents.to(self._with_vae.dtype)
            self._decoding = ImageDecode(self._with_vae, latents, tiled=self.memory_savings.tiled_decode)
        self._decoding.advance(self._with_vae)
        image = self._decoding.image
        if image is None:
            return False
        self._images[index] = image
        self._warn(self._decoding.warning)
        self._warn(_ONE_COLOUR if image.is_of_one_colour else None)
        self._decoding = None
        return True

    def _warn(self, warning: str | None) -> None:
        if warning is not None and warning not in self._warnings:
            self._warnings.append(warning)

    def _begin_more(self) -> None:
        while self._to_begin and len(self._denoises) < self._at_once:
            index, seed = self._to_begin.pop(0)
            begun = time.perf_counter()
            start_from = self._encoded_start(index) if self._starts_differ else self._start_from
            self.encode_s += time.perf_counter() - begun
            self._denoises[index] = denoise = ImageDenoise(
                self.model, self.request, self._conditioning, seed, start_from, self._adapted
            )
            self._evaluations = denoise.total


class SdxlBatchedForward:
    """Keeps the joined rows of a set of images while the set stays the same."""

    def __init__(self) -> None:
        self._laid: list[Forward] = []

    @torch.inference_mode()
    def step(self, runs: Sequence[SdxlRun]) -> dict[SdxlRun, Exception]:
        """Take the images of runs of one lane one step further.

        Returns:
            The runs that cannot go on, with the reason.

        Raises:
            OutOfMemory: no image has advanced; a smaller batch may fit.
        """
        with stage("denoise"):
            batched_forward = self._laid_for(runs)
            predictions = [forward.predictions() for forward in batched_forward]
        failed: dict[SdxlRun, Exception] = {}
        owners = {denoise: run for run in runs for denoise in run.denoises}
        for forward, found in zip(batched_forward, predictions, strict=True):
            for denoise, prediction in zip(forward.denoises, found, strict=True):
                try:
                    denoise.advance(prediction)
                except Exception as error:
                    failed[owners[denoise]] = error
        return failed

    def forget(self) -> None:
        """Drop all tensors."""
        self._laid = []

    def _laid_for(self, runs: Sequence[SdxlRun]) -> list[Forward]:
        split = any(run.memory_savings.split_guidance for run in runs)
        groups = (
            [[denoise] for run in runs for denoise in run.denoises]
            if split
            else grouped(s for run in runs for s in run.denoises)
        )
        # Those that are not kept let go of their tensors before others are made.
        self._laid = [forward for forward in self._laid if any(forward.is_laid_for(group) for group in groups)]
        self._laid = [
            next((forward for forward in self._laid if forward.is_laid_for(group)), None)
            or Forward(runs[0].model, group, split_guidance=split)
            for group in groups
        ]
        return self._laid
