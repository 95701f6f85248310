"""Decodes latents in overlapping tiles that are blended into each other, for pictures that are too large to decode at once."""

from collections.abc import Callable

import torch
from torch import Tensor

from ...domain.families.latents import LATENT_SCALE

Decoder = Callable[[Tensor], Tensor]
"""Latents, 1 x c x h x w, to pixels, 1 x 3 x 8h x 8w."""

_OVERLAP = 4
"""Tiles overlap by at least a quarter of their side."""


def decode_in_tiles(decode: Decoder, latents: Tensor, side: int) -> Tensor:
    """Decode tile by tile; holds one decoded tile and the picture in float32 at a time.

    All tiles have the same shape and are spread evenly, so that none is a thin strip at the border. Each is weighted with
    a ramp that falls off over the overlap, and the sum of the weights is divided out: no seam can show.

    Args:
        decode: decodes latents of any size.
        latents: 1 x c x h x w.
        side: side of a tile in cells of the latents.
    """
    height, width = latents.shape[-2:]
    tile_height, tile_width = min(side, height), min(side, width)
    canvas = latents.new_zeros((1, 3, height * LATENT_SCALE, width * LATENT_SCALE), dtype=torch.float32)
    total = torch.zeros_like(canvas[:, :1])
    weight = _ramp(tile_height, canvas)[:, None] * _ramp(tile_width, canvas)
    for top in _starts(height, tile_height):
        for left in _starts(width, tile_width):
            tile = decode(latents[..., top : top + tile_height, left : left + tile_width]).float()
            rows = slice(top * LATENT_SCALE, (top + tile_height) * LATENT_SCALE)
            columns = slice(left * LATENT_SCALE, (left + tile_width) * LATENT_SCALE)
            canvas[..., rows, columns] += tile * weight
            total[..., rows, columns] += weight
    return canvas.div_(total)


def _starts(length: int, side: int) -> list[int]:
    """Place the tiles: the smallest number that overlaps enough, evenly spread from border to border."""
    if side >= length:
        return [0]
    stride = max(side - max(side // _OVERLAP, 1), 1)
    count = -(-(length - side) // stride) + 1
    return [round(index * (length - side) / (count - 1)) for index in range(count)]


def _ramp(side: int, like: Tensor) -> Tensor:
    """Compute the weights along a side of a tile: 1 except in the last quarter before a border; never 0, so all pixels count."""
    length = side * LATENT_SCALE
    position = torch.arange(length, device=like.device, dtype=torch.float32) + 0.5
    return (torch.minimum(position, length - position) * _OVERLAP / length).clamp(max=1)
