"""The denoising loop: from noise to latents, one image at a time."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from ...domain.generation import LATENT_SCALE, GenerationRequest
from .components import SdxlModel
from .samplers import build_sampler, start, step_arguments
from .text import Conditioning

_LATENT_CHANNELS = 4
"""Of SDXL's autoencoder; the catalogue refuses UNets that take more."""

OnImageStep = Callable[[int, int], None]
"""Called with (evaluations done, evaluations in all) of one image."""


def denoise(
    model: SdxlModel,
    request: GenerationRequest,
    conditioning: Conditioning,
    seed: int,
    on_step: OnImageStep,
    *,
    split_guidance: bool = False,
) -> Tensor:
    """Latents of one image, 1 x 4 x height/8 x width/8.

    The noise is drawn on the CPU, so a seed means the same image on every device; nothing of it depends on the other
    images of the request. Latents stay in float32 between steps: in bfloat16 they would gather rounding errors.

    Args:
        model: whose UNet to use.
        request: what to make.
        conditioning: the encoded prompts.
        seed: of this image.
        on_step: hears of each evaluation; raises to stop.
        split_guidance: run the two rows of guidance one after the other, which needs less memory.
    """
    device = model.unet.device
    generator = torch.Generator("cpu").manual_seed(seed)
    sampler: Any = build_sampler(request.sampler, model.sampler_config, model.traits, request.timestep_spacing)
    timesteps = start(sampler, request.num_inference_steps, device)
    step_options = step_arguments(sampler, [generator])
    shape = (1, _LATENT_CHANNELS, request.height // LATENT_SCALE, request.width // LATENT_SCALE)
    latents = torch.randn(shape, generator=generator, dtype=torch.float32).to(device) * sampler.init_noise_sigma
    predict = _Predictor(model, request, conditioning, split_guidance)
    on_step(0, len(timesteps))
    for index, timestep in enumerate(timesteps):
        prediction = predict(sampler.scale_model_input(latents, timestep), timestep)
        latents = sampler.step(prediction, timestep, latents, **step_options)[0]
        on_step(index + 1, len(timesteps))
    return latents.to(model.dtype)


class _Predictor:
    """The UNet with everything applied that stays the same from step to step: prompt, sizes, guidance.

    A class rather than a closure: a closure's tensors would outlive its frame in the traceback of a failure.
    """

    def __init__(
        self, model: SdxlModel, request: GenerationRequest, conditioning: Conditioning, split_guidance: bool
    ) -> None:
        self._model = model
        self._request = request
        self._at_once = at_once = 1 if split_guidance else len(conditioning.sequence)
        height, width = request.height, request.width
        sizes = [height, width, 0, 0, height, width]  # original size, crop, target size (SDXL, arXiv:2307.01952, 2.2)
        self._time_ids = torch.tensor([sizes], dtype=model.dtype, device=model.unet.device).expand(at_once, -1)
        self._parts = list(zip(conditioning.sequence.split(at_once), conditioning.pooled.split(at_once), strict=True))

    def __call__(self, latents: Tensor, timestep: Tensor) -> Tensor:
        latents = latents.to(self._model.dtype).expand(self._at_once, -1, -1, -1)
        latents = latents.contiguous(memory_format=torch.channels_last)
        prediction = torch.cat([self._run(latents, timestep, *part) for part in self._parts]).float()
        return _guided(prediction, self._request) if self._request.guided else prediction

    def _run(self, latents: Tensor, timestep: Tensor, sequence: Tensor, pooled: Tensor) -> Tensor:
        return self._model.unet(
            latents,
            timestep,
            encoder_hidden_states=sequence,
            added_cond_kwargs={"text_embeds": pooled, "time_ids": self._time_ids},
            return_dict=False,
        )[0]


def _guided(prediction: Tensor, request: GenerationRequest) -> Tensor:
    """Classifier-free guidance (Ho & Salimans 2022, arXiv:2207.12598)."""
    negative, positive = prediction.chunk(2)
    guided = negative + request.guidance_scale * (positive - negative)
    if not request.guidance_rescale:
        return guided
    return torch.lerp(guided, _rescaled(guided, positive), request.guidance_rescale)


def _rescaled(guided: Tensor, positive: Tensor) -> Tensor:
    """The guided prediction with the deviation of the unguided one (Lin et al. 2023, arXiv:2305.08891, eq. 15)."""
    axes = list(range(1, guided.ndim))
    return guided * (positive.std(dim=axes, keepdim=True) / guided.std(dim=axes, keepdim=True))
