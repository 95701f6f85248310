"""Converts latents between the scales of the VAE and of the denoiser; some VAEs have a mean and deviation for each channel."""

from typing import Any

from torch import Tensor


def in_vae_scale(latents: Tensor, config: Any) -> Tensor:
    """Convert latents of the denoiser (n x 4 x h x w) to the VAE's scale, by its config."""
    mean, deviation = _statistics(latents, config)
    return latents * deviation / config.scaling_factor + mean


def in_denoiser_scale(latents: Tensor, config: Any) -> Tensor:
    """Convert latents of the VAE (n x 4 x h x w) to the denoiser's scale."""
    mean, deviation = _statistics(latents, config)
    return (latents - mean) * config.scaling_factor / deviation


def _statistics(latents: Tensor, config: Any) -> tuple[Tensor | float, Tensor | float]:
    if config.latents_mean is None or config.latents_std is None:
        return 0.0, 1.0
    mean, deviation = (latents.new_tensor(each).view(1, -1, 1, 1) for each in (config.latents_mean, config.latents_std))
    return mean, deviation
