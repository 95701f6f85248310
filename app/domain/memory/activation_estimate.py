"""Bytes that a request needs beside the weights, from shapes alone, and the largest size that a number of bytes allows."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from ..models.spec import SDXL_WIDTHS, ModelSpec, Widths
from ..requests.rendering import NO_SAVINGS, MemorySavings
from ..requests.request import GenerationRequest

TILE_PX = 512
"""Side of the tiles in which a frugal decoder works; smaller pictures have smaller ones."""
SIZE_STEP_PX = 64
"""Sizes that are recommended to people are multiples of it, as SDXL was trained on."""

_UNET_NBYTES_PER_PIXEL = 158 * 1024**2 / 1024**2
"""Peak live activations of SDXL's UNet in a 16-bit dtype, for one row, per pixel of the image."""
_PROMPT_TOKENS = 77
"""Of a prompt of usual length; the bytes of longer ones are learnt from what is observed."""
_VAE_NBYTES_PER_PIXEL = 1536
"""Peak live activations of the VAE decoder in a 16-bit dtype, per pixel that is decoded at once."""
_CANVAS_NBYTES_PER_PIXEL = 16
"""Where decoded tiles are laid over each other: three channels and their weights, in float32."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Demand:
    """A request, and what its bytes depend on beside it."""

    spec: ModelSpec
    request: GenerationRequest
    element_nbytes: int
    """Of one number in the dtype that the model runs in, 2 or 4."""

    def predicted_nbytes(self, memory_savings: MemorySavings) -> int:
        """Peak bytes of activations, from shapes alone."""
        return activation_nbytes(self.request, self.element_nbytes, memory_savings, self.spec.widths)

    def predicted_step_nbytes(self, memory_savings: MemorySavings) -> int:
        """Bytes of activations of a step of one image, from shapes alone; those of images that are made together add up."""
        return step_nbytes(self.request, self.element_nbytes, memory_savings, self.spec.widths)

    def savings_levels(self) -> Iterator[MemorySavings]:
        """What the request can save, from nothing to everything."""
        yield NO_SAVINGS
        yield MemorySavings(tiled_decode=True)
        if self.request.guided:
            yield MemorySavings(tiled_decode=True, split_guidance=True)


def activation_nbytes(
    request: GenerationRequest,
    element_nbytes: int,
    memory_savings: MemorySavings = NO_SAVINGS,
    widths: Widths = SDXL_WIDTHS,
) -> int:
    """Peak bytes of activations of a request, weights excluded, from shapes alone.

    The UNet runs one row, two with guidance; the VAE decodes one image at a time. The two never run together. Networks
    narrower than SDXL's need proportionally less: their layers are as many, and each is as large as it has channels.

    Args:
        request: what will run.
        element_nbytes: bytes of one number in the dtype that the model runs in, 2 or 4.
        memory_savings: what is saved.
        widths: of the model's networks.
    """
    pixels = request.width * request.height
    tile = tile_px(request.width, request.height)
    decoded = min(tile, request.width) * min(tile, request.height) if memory_savings.tiled_decode else pixels
    vae = decoded * _VAE_NBYTES_PER_PIXEL * widths.vae / SDXL_WIDTHS.vae
    canvas = pixels * _CANVAS_NBYTES_PER_PIXEL if memory_savings.tiled_decode else 0
    return max(step_nbytes(request, element_nbytes, memory_savings, widths), int(vae * element_nbytes / 2) + canvas)


def step_nbytes(
    request: GenerationRequest,
    element_nbytes: int,
    memory_savings: MemorySavings = NO_SAVINGS,
    widths: Widths = SDXL_WIDTHS,
) -> int:
    """Peak bytes of activations of one image while it is denoised; see `activation_nbytes`."""
    rows = 2 if request.guided and not memory_savings.split_guidance else 1
    pixels = request.width * request.height
    prompt = 0 if memory_savings.split_guidance else _PROMPT_TOKENS * 2 * widths.prompt  # a key and a value each
    numbers = prompt + pixels * _UNET_NBYTES_PER_PIXEL / 2 * widths.unet / SDXL_WIDTHS.unet
    return int(rows * numbers * element_nbytes)


def tile_px(width: int, height: int) -> int:
    """The side of the tiles that a picture is decoded in: three quarters of the picture's, at most TILE_PX."""
    return min(TILE_PX, max(width, height) * 3 // 4 // 8 * 8)


def largest_size(request: GenerationRequest, fits: Callable[[GenerationRequest], bool]) -> tuple[int, int] | None:
    """The largest size of the request's shape, and no larger than it, that fits: multiples of 64, the shorter side rounded down.

    Args:
        request: what was asked for.
        fits: whether the request, resized, would fit; no size fits where a smaller one of the same shape does not.

    Returns:
        Width and height in pixels; None where not even the smallest size fits.
    """
    longer = max(request.width, request.height)
    for side in range(longer // SIZE_STEP_PX * SIZE_STEP_PX, 0, -SIZE_STEP_PX):
        width, height = (max(_down(asked * side // longer), SIZE_STEP_PX) for asked in (request.width, request.height))
        if fits(replace(request, width=width, height=height)):
            return width, height
    return None


def format_bytes(nbytes: int) -> str:
    """Bytes in words for people."""
    return f"{nbytes / 1e9:.2f} GB" if nbytes >= 1e8 else f"{nbytes / 1e6:.1f} MB"


def _down(side_px: int) -> int:
    return side_px // SIZE_STEP_PX * SIZE_STEP_PX
