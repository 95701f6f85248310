"""Peak bytes beside the weights of an SDXL model, from shapes alone; constants measured on SDXL's own networks."""

from ..family import ImageShape
from ..latents import LATENT_SCALE
from .widths import SDXL_WIDTHS, Widths

TILE_PX = 512
"""Side of the tiles in which a decoder that saves memory works; smaller pictures have smaller ones."""

_UNET_NBYTES_PER_PIXEL = 158 * 1024**2 / 1024**2
"""Peak live activations of SDXL's UNet in a 16-bit dtype, for one row, per pixel of the image."""
_PROMPT_TOKENS = 77
"""Tokens of a prompt of usual length; the bytes of longer ones are learnt from observed peaks."""
_VAE_NBYTES_PER_PIXEL = 1536
"""Peak live activations of the VAE decoder in a 16-bit dtype, per pixel that is decoded at once."""
_CANVAS_NBYTES_PER_PIXEL = 16
"""Bytes of the canvas that decoded tiles are laid on: three channels and their weights, in float32."""


def activation_nbytes(shape: ImageShape, widths: Widths = SDXL_WIDTHS) -> int:
    """Peak bytes of activations of one image, weights excluded.

    The UNet runs all rows of the image at once; the VAE decodes one image at a time. The two never run together. Networks
    narrower than SDXL's need proportionally less: their layers are as many, and each is as large as it has channels.
    """
    pixels = shape.width_px * shape.height_px
    tile = tile_px(shape.width_px, shape.height_px)
    decoded = min(tile, shape.width_px) * min(tile, shape.height_px) if shape.tiled_decode else pixels
    vae = decoded * _VAE_NBYTES_PER_PIXEL * widths.vae / SDXL_WIDTHS.vae
    canvas = pixels * _CANVAS_NBYTES_PER_PIXEL if shape.tiled_decode else 0
    return max(step_nbytes(shape, widths), int(vae * shape.element_nbytes / 2) + canvas)


def step_nbytes(shape: ImageShape, widths: Widths = SDXL_WIDTHS) -> int:
    """Peak bytes of activations of one image while it is denoised; see `activation_nbytes`."""
    rows = 1 if shape.split_guidance else shape.rows
    pixels = shape.width_px * shape.height_px
    prompt = 0 if shape.split_guidance else _PROMPT_TOKENS * 2 * widths.prompt  # a key and a value each
    numbers = prompt + pixels * _UNET_NBYTES_PER_PIXEL / 2 * widths.unet / SDXL_WIDTHS.unet
    return int(rows * numbers * shape.element_nbytes)


def tile_px(width_px: int, height_px: int) -> int:
    """Side of the tiles that a picture is decoded in: three quarters of the picture's longer side, at most TILE_PX."""
    return min(TILE_PX, max(width_px, height_px) * 3 // 4 // LATENT_SCALE * LATENT_SCALE)
