"""Denoises images step by step; images of one model and one size share each forward of the UNet."""

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor

from ...domain.families.latents import LATENT_SCALE
from ...domain.models.spec import PredictionType
from ...domain.requests.request import GenerationRequest
from ..diffusion.fast_layers.attention import PromptKeyValues
from ..diffusion.latent_preview import denoised, signal_at
from ..diffusion.samplers import build_sampler, start, step_arguments, steps_of_evaluations
from ..diffusion.side_paths.side_path import SidePaths, lay_side_paths, standing_in
from .adapters.adapted import Adapted
from .conditioning import Conditioning, ScheduledConditioning
from .latents.encode_image import StartingPoint
from .latents.noised_picture import inpainting_channels, noised_picture
from .loading.components import SdxlModel

_LATENT_CHANNELS = 4
"""Channels of the latents of SDXL's autoencoder."""


class ImageDenoise:
    """One image while it is denoised: its sampler, its noise and its place in the schedule, shared with no other image.

    The noise is drawn on the CPU, so a seed means the same image on every device and beside any other images. Latents stay in
    float32 between steps, because rounding errors would add up in bfloat16.
    """

    def __init__(
        self,
        model: SdxlModel,
        request: GenerationRequest,
        conditioning: ScheduledConditioning,
        seed: int,
        start_from: StartingPoint | None = None,
        adapted: Adapted | None = None,
    ) -> None:
        """Draw the noise of a seed, on a picture if there is one."""
        device = model.unet.device
        self.request = request
        self._scheduled = conditioning
        self.use(adapted)
        self.done = 0
        self._ended_early = False
        generator = torch.Generator("cpu").manual_seed(seed)
        self._sampler: Any = build_sampler(
            request.sampler, model.sampler_config, model.traits, request.timestep_spacing
        )
        steps = request.num_inference_steps
        self._timesteps = start(self._sampler, steps, skipped=steps - request.denoising_steps)
        self._step_options = step_arguments(self._sampler, [generator])
        shape = (1, _LATENT_CHANNELS, request.height // LATENT_SCALE, request.width // LATENT_SCALE)
        full = request.denoising_steps == request.num_inference_steps
        self._picture = noised_picture(model, start_from, generator, full=full)
        noise = torch.randn(shape, generator=generator, dtype=torch.float32).to(device)
        self._latents = self._first(noise, full=full)
        self._beside = inpainting_channels(model, start_from, generator)
        self._steps = steps_of_evaluations(self._sampler, len(self._timesteps), request.denoising_steps)
        self._stretch = 0
        self.conditioning: Conditioning = self._conditioning_now()
        """Rows of the next evaluation; the same object as long as they do not change."""
        self._rows_of_time = self._timesteps.to(device, torch.float32)
        self._times: list[float] = self._timesteps.tolist()
        self._input = self._prediction = noise

    def use(self, adapted: Adapted | None) -> None:
        """Have these adapters change the UNet for its rows."""
        self.changes = None if adapted is None else adapted.of("unet")

    @property
    def total(self) -> int:
        """Evaluations of the UNet in all; see `samplers.start`."""
        return len(self._timesteps)

    @property
    def finished(self) -> bool:
        """Whether the last step has been taken, or the image was ended before it."""
        return self._ended_early or self.done == self.total

    @property
    def rows(self) -> int:
        """Rows of the UNet's batch: two with guidance, otherwise one; more if the prompt is composed of parts."""
        return len(self.conditioning.sequence)

    @property
    def latents(self) -> Tensor:
        """1 x 4 x height/8 x width/8, float32."""
        return self._latents

    def model_input(self) -> Tensor:
        """Return the UNet's input of about unit variance: 1 x 4 x height/8 x width/8, float32; for inpainting 1 x 9 x ..."""
        self._input = self._sampler.scale_model_input(self._latents, self._timesteps[self.done])
        return self._input if self._beside is None else torch.cat([self._input, self._beside], dim=1)

    def timestep(self) -> Tensor:
        """Return the timestep of the next evaluation as one float32 on the device."""
        return self._rows_of_time[self.done : self.done + 1]

    def estimate(self, prediction_type: PredictionType) -> Tensor:
        """Estimate the clean latents from the last prediction, after the first step: 1 x 4 x h x w, float32."""
        signal = signal_at(self._sampler, self._times[self.done - 1])
        return denoised(self._input, self._prediction, signal, prediction_type)

    def advance(self, prediction: Tensor) -> None:
        """Take the step that a prediction (rows x 4 x h x w, float32) leads to."""
        if self.request.guided:
            prediction = _guided(prediction, self.request, self._scheduled.weights)
        timestep = self._timesteps[self.done]
        self._prediction = prediction
        self._latents = self._sampler.step(prediction, timestep, self._latents, **self._step_options)[0]
        self.done += 1
        if not self.finished:
            self.conditioning = self._conditioning_now()
        if self._picture is not None:
            following = None if self.finished else self._timesteps[self.done]
            self._latents = self._picture.kept_around(self._latents, self._sampler, following)

    def end_early(self, prediction_type: PredictionType) -> None:
        """Put the estimate of the clean latents in the place of the latents; after the first step."""
        self._latents = self.estimate(prediction_type)
        if self._picture is not None:
            self._latents = self._picture.kept_around(self._latents, self._sampler, None)
        self._ended_early = True

    def _conditioning_now(self) -> Conditioning:
        stretch = self._scheduled.stretch_at(self._steps[self.done])
        if self.done and stretch == self._stretch:
            return self.conditioning
        self._stretch = stretch
        return self._scheduled.of_stretch(stretch)

    def _first(self, noise: Tensor, *, full: bool) -> Tensor:
        """Make the first latents: of noise alone, or of the noised picture."""
        if self._picture is None:
            return noise * self._sampler.init_noise_sigma
        return self._picture.first(self._sampler, noise, self._timesteps[0], full=full)


class Forward:
    """One forward of the UNet for a set of images that stays the same for some steps, with their prompts and sizes as one batch.

    A class and not a closure, because a closure's tensors would outlive its frame in the traceback of a failure.
    """

    def __init__(self, model: SdxlModel, denoises: Sequence[ImageDenoise], *, split_guidance: bool = False) -> None:
        """Join the rows of images of one size and one prompt length.

        Args:
            model: the model with the UNet.
            denoises: images in the order of their rows.
            split_guidance: run the rows of guidance one after the other, which needs less memory; for one image.
        """
        self._model = model
        self.denoises = tuple(denoises)
        self._conditionings = [denoise.conditioning for denoise in denoises]
        self._counts = [denoise.rows for denoise in denoises]
        rows = sum(self._counts)
        self._at_once = at_once = 1 if split_guidance else rows
        sizes = [row for denoise in denoises for row in _sizes(denoise.request)]
        time_ids = torch.tensor(sizes, dtype=model.dtype, device=model.unet.device)
        sequence = _joined([conditioning.sequence for conditioning in self._conditionings])
        pooled = _joined([conditioning.pooled for conditioning in self._conditionings])
        changes = [denoise.changes for denoise in denoises for _ in range(denoise.rows)]
        side_paths = [lay_side_paths(changes[begin : begin + at_once]) for begin in range(0, rows, at_once)]
        # Kept for all steps, which takes memory: not if memory is short.
        key_values = [None] * rows if split_guidance else [PromptKeyValues()]
        self._parts = list(
            zip(
                sequence.split(at_once),
                pooled.split(at_once),
                time_ids.split(at_once),
                side_paths,
                key_values,
                strict=False,
            )
        )

    def is_laid_for(self, denoises: Sequence[ImageDenoise]) -> bool:
        """Return whether it holds these images, and their prompts have not changed since."""
        return self.denoises == tuple(denoises) and self._conditionings == [each.conditioning for each in denoises]

    def predictions(self) -> Sequence[Tensor]:
        """Compute the UNet's predictions for the next step of each image: its rows x 4 x h x w, float32."""
        latents = _joined(
            [denoise.model_input().to(self._model.dtype).expand(denoise.rows, -1, -1, -1) for denoise in self.denoises]
        )
        times = _joined([denoise.timestep().expand(denoise.rows) for denoise in self.denoises])
        latents = latents.contiguous(memory_format=torch.channels_last)
        shares = zip(latents.split(self._at_once), times.split(self._at_once), self._parts, strict=True)
        outputs = [self._run(share, time, *part) for share, time, part in shares]
        return _joined(outputs).float().split(self._counts)

    def _run(
        self,
        latents: Tensor,
        timesteps: Tensor,
        sequence: Tensor,
        pooled: Tensor,
        time_ids: Tensor,
        side_paths: SidePaths,
        key_values: PromptKeyValues | None,
    ) -> Tensor:
        with standing_in(side_paths):
            return self._model.unet(
                latents,
                timesteps,
                encoder_hidden_states=sequence,
                added_cond_kwargs={"text_embeds": pooled, "time_ids": time_ids},
                cross_attention_kwargs={"prompt_key_values": key_values},
                return_dict=False,
            )[0]


def grouped(denoises: Iterable[ImageDenoise]) -> list[list[ImageDenoise]]:
    """Group images for common forwards by the number of tokens of their prompts, images of equal adapters side by side."""
    groups: dict[int, dict[int, list[ImageDenoise]]] = {}
    for denoise in denoises:
        group = groups.setdefault(denoise.conditioning.sequence.shape[1], {})
        group.setdefault(id(denoise.changes), []).append(denoise)
    return [[denoise for alike in group.values() for denoise in alike] for group in groups.values()]


def _sizes(request: GenerationRequest) -> list[tuple[int, ...]]:
    """List the sizes for each row of a request's batch, in the order of the UNet's input."""
    rows = [request.negative_size_conditioning] if request.guided else []
    rows += [request.size_conditioning] * len(request.parts)
    return [(*each.original_size, *each.crop, *each.target_size) for each in rows]


def _joined(parts: Sequence[Tensor]) -> Tensor:
    return parts[0] if len(parts) == 1 else torch.cat(list(parts))


def _guided(prediction: Tensor, request: GenerationRequest, weights: Sequence[float]) -> Tensor:
    """Apply classifier-free guidance (Ho & Salimans 2022, arXiv:2207.12598) by each part of the prompt.

    With n the prediction of the negative row, p_i those of the parts and w_i their weights, it is n + sum_i w_i s (p_i - n)
    (Liu et al. 2022, arXiv:2206.01714, eq. 11). Without guidance s is 1.
    """
    negative, *positives = prediction.split(1)
    scale = max(request.guidance_scale, 1.0)
    guided = negative
    for positive, weight in zip(positives, weights, strict=True):
        guided = guided + scale * weight * (positive - negative)
    if not request.guidance_rescale:
        return guided
    return torch.lerp(guided, _rescaled(guided, _unguided(negative, positives, weights)), request.guidance_rescale)


def _unguided(negative: Tensor, positives: Sequence[Tensor], weights: Sequence[float]) -> Tensor:
    if len(positives) == 1 and weights[0] == 1.0:
        return positives[0]
    return negative + sum(weight * (positive - negative) for positive, weight in zip(positives, weights, strict=True))


def _rescaled(guided: Tensor, positive: Tensor) -> Tensor:
    """Scale the guided prediction to the deviation of the unguided one (Lin et al. 2023, arXiv:2305.08891, eq. 15)."""
    axes = list(range(1, guided.ndim))
    return guided * (positive.std(dim=axes, keepdim=True) / guided.std(dim=axes, keepdim=True))
