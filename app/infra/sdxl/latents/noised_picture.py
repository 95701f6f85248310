"""The picture that an image begins from, with noise on it: at the start, and around the part that is painted again."""

from typing import Any

import torch
from torch import Tensor

from ....domain.requests.pictures.picture import MaskContent
from ...diffusion.encoded_pictures import LatentDistribution
from ..loading.components import SdxlModel
from .encode_image import StartingPoint
from .latent_scale import in_denoiser_scale


def noised_picture(
    model: SdxlModel, start_from: StartingPoint | None, generator: torch.Generator, *, full: bool
) -> "NoisedPicture | None":
    """Draw the latents of the picture that an image begins from; None if it begins from noise alone.

    Args:
        model: that denoises it.
        start_from: encoded.
        generator: of the seed.
        full: whether all steps are taken. A UNet for inpainting then begins from noise, as in diffusers' pipeline: it sees the
            picture beside the latents.
    """
    if start_from is None or start_from.latents is None:
        return None
    sees_mask = start_from.around is not None
    return None if sees_mask and full else NoisedPicture(model, start_from, generator, keeps=not sees_mask)


def inpainting_channels(
    model: SdxlModel, start_from: StartingPoint | None, generator: torch.Generator
) -> Tensor | None:
    """Draw what a UNet for inpainting sees beside the latents; None for other UNets.

    Returns:
        The mask and the latents of the picture around the masked part, 1 x 5 x h x w, float32.
    """
    if start_from is None or start_from.around is None:
        return None
    around = _drawn(model, start_from.around, generator)
    mask = torch.ones_like(around[:, :1]) if start_from.mask is None else start_from.mask
    return torch.cat([mask, around], dim=1)


class NoisedPicture:
    """The latents of a picture for one seed. Draws from its generator in the order of diffusers' pipelines."""

    def __init__(
        self, model: SdxlModel, start_from: StartingPoint, generator: torch.Generator, *, keeps: bool = True
    ) -> None:
        """Draw the latents; `keeps` tells whether they are put around the masked part after each step."""
        assert start_from.latents is not None
        self._latents = _drawn(model, start_from.latents, generator)
        self._mask = start_from.mask if keeps else None
        self._hole = start_from.mask
        self._content: MaskContent = start_from.content
        self._generator = generator
        self._noise = self._latents

    def first(self, sampler: Any, noise: Tensor, timestep: Tensor, *, full: bool) -> Tensor:
        """Make the latents of the first step.

        Args:
            sampler: that takes the steps, prepared.
            noise: of the seed, 1 x 4 x h x w.
            timestep: of the first step.
            full: whether all steps are taken. A masked picture then begins from noise alone, as diffusers' pipeline does.
        """
        self._noise = noise
        if self._mask is not None:
            torch.randn(
                noise.shape, generator=self._generator
            )  # diffusers draws for the masked picture, which 4 channels do not use
            if full:
                return noise * sampler.init_noise_sigma
        return sampler.add_noise(self._emptied(noise), noise, timestep[None])

    def _emptied(self, noise: Tensor) -> Tensor:
        """Return the latents with noise or nothing in the place of the masked part, if the request says so."""
        if self._hole is None or self._content not in ("noise", "nothing"):
            return self._latents
        around = (1 - self._hole) * self._latents
        return around + self._hole * noise if self._content == "noise" else around

    def kept_around(self, latents: Tensor, sampler: Any, timestep: Tensor | None) -> Tensor:
        """Put the picture, as noisy as the next step expects it, around the masked part.

        Args:
            latents: after a step.
            sampler: that took it.
            timestep: of the next step; None after the last, when the picture has no noise.
        """
        if self._mask is None:
            return latents
        picture = self._latents
        if timestep is not None:
            picture = sampler.add_noise(picture, self._noise, timestep[None])
        return (1 - self._mask) * picture + self._mask * latents


def _drawn(model: SdxlModel, latents: LatentDistribution | Tensor, generator: torch.Generator) -> Tensor:
    """Draw the latents of a picture; those that were never decoded need no draw."""
    if isinstance(latents, Tensor):
        return latents
    return in_denoiser_scale(latents.sample(generator), model.vae.config)
