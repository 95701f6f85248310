"""Widths of the networks of a model, which its activations are proportional to."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Widths:
    """Widths of the networks at the layers in which activations peak, in channels; SDXL's own by default."""

    unet: int = 320
    """Channels of the UNet's first block, which works at the latent's full size."""
    prompt: int = 10 * 640 + 60 * 1280
    """Channels of all its cross-attention layers together, which keep the keys and values of a prompt from step to step."""
    vae: int = 256
    """Channels of the VAE's second block, which the decoder enlarges to the picture's full size."""


SDXL_WIDTHS = Widths()
