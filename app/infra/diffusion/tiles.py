"""Decodes and encodes pictures in overlapping tiles that are blended into each other, if they are too large to do at once."""

from collections.abc import Callable

import torch
from torch import Tensor

from ...domain.families.latents import LATENT_SCALE

Apply = Callable[[Tensor], Tensor]
"""Latents, 1 x c x h x w, to pixels, 1 x 3 x 8h x 8w; or pixels to numbers for each cell of the latents."""

_OVERLAP = 4
"""Tiles overlap by at least a quarter of their side."""


def decode_in_tiles(decode: Apply, latents: Tensor, side: int) -> Tensor:
    """Decode tile by tile; holds one decoded tile and the picture in float32 at a time.

    All tiles have the same shape and are spread evenly, so that none is a thin strip at the border. Each is weighted with
    a ramp that falls off over the overlap, and the sum of the weights is divided out: no seam can show.

    Args:
        decode: decodes latents of any size.
        latents: 1 x c x h x w.
        side: side of a tile in cells of the latents.
    """
    return _in_tiles(decode, latents, side, channels=3, read=1, written=LATENT_SCALE)


def encode_in_tiles(encode: Apply, pixels: Tensor, side: int, channels: int) -> Tensor:
    """Encode tile by tile, as `decode_in_tiles` decodes.

    Args:
        encode: encodes pixels of any size.
        pixels: 1 x 3 x 8h x 8w.
        side: side of a tile in cells of the latents.
        channels: numbers that `encode` makes for each cell.
    """
    return _in_tiles(encode, pixels, side, channels=channels, read=LATENT_SCALE, written=1)


def _in_tiles(apply: Apply, inputs: Tensor, side: int, *, channels: int, read: int, written: int) -> Tensor:
    """Apply a network tile by tile; a cell of the latents is `read` numbers wide in `inputs`, `written` in the result."""
    height, width = (length // read for length in inputs.shape[-2:])
    tile_height, tile_width = min(side, height), min(side, width)
    canvas = inputs.new_zeros((1, channels, height * written, width * written), dtype=torch.float32)
    total = torch.zeros_like(canvas[:, :1])
    down, across = tile_height * written, tile_width * written
    weight = ramp(down, down / _OVERLAP, canvas)[:, None] * ramp(across, across / _OVERLAP, canvas)
    for top in _starts(height, tile_height):
        for left in _starts(width, tile_width):
            rows, columns = slice(top, top + tile_height), slice(left, left + tile_width)
            tile = apply(inputs[..., _times(rows, read), _times(columns, read)]).float()
            there = (..., _times(rows, written), _times(columns, written))
            canvas[there] += tile * weight
            total[there] += weight
    return canvas.div_(total)


def _times(cells: slice, factor: int) -> slice:
    return slice(cells.start * factor, cells.stop * factor)


def _starts(length: int, side: int) -> list[int]:
    """Place the tiles: the smallest number that overlaps enough, evenly spread from border to border."""
    if side >= length:
        return [0]
    stride = max(side - max(side // _OVERLAP, 1), 1)
    count = -(-(length - side) // stride) + 1
    return [round(index * (length - side) / (count - 1)) for index in range(count)]


def ramp(length: int, overlap: float, like: Tensor) -> Tensor:
    """Compute the weights along a side of a tile: 1 except in the overlap at both ends; never 0, so all numbers count."""
    position = torch.arange(length, device=like.device, dtype=torch.float32) + 0.5
    return (torch.minimum(position, length - position) / overlap).clamp(max=1)
