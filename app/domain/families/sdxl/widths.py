"""How wide the networks of a model are: what its activations are proportional to."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Widths:
    """How wide the networks are where activations peak, in channels; SDXL's own by default. Bytes are proportional."""

    unet: int = 320
    """Of the UNet's first block, which works at the latent's full size."""
    prompt: int = 10 * 640 + 60 * 1280
    """Of all its cross-attention layers together, which keep the keys and values of a prompt from step to step."""
    vae: int = 256
    """Of the VAE's second block, which the decoder enlarges to the picture's full size."""


SDXL_WIDTHS = Widths()
