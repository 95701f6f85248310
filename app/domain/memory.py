"""Bytes that a request needs beside the weights."""

from .generation import GenerationRequest

_UNET_NBYTES_PER_PIXEL = 158 * 1024**2 / 1024**2
"""Peak live activations of SDXL's UNet in a 16-bit dtype, for one row, per pixel of the image."""
_VAE_NBYTES_PER_PIXEL = 1536
"""Peak live activations of the VAE decoder in a 16-bit dtype, per pixel of the image."""


def activation_nbytes(request: GenerationRequest, element_nbytes: int) -> int:
    """Peak bytes of activations of a request, weights excluded, from shapes alone.

    The UNet runs one row, two with guidance; the VAE decodes one image at a time. The two never run together.

    Args:
        request: what will run.
        element_nbytes: bytes of one number in the dtype that the model runs in, 2 or 4.
    """
    pixels = request.width * request.height
    rows = 2 if request.guided else 1
    unet = _UNET_NBYTES_PER_PIXEL * rows
    return int(pixels * max(unet, _VAE_NBYTES_PER_PIXEL) * element_nbytes / 2)
