"""The output of one pass of an upscaler, on which tiles are laid; where they overlap they are blended."""

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from ...domain.families.upscaler.tiles import OVERLAP_PX, tile_starts
from ..diffusion.tiles import ramp

Tile = tuple[slice, slice]
"""Rows and columns of the input."""


class Canvas:
    """Enlarges a picture tile by tile; may move to another device between two tiles."""

    def __init__(self, pixels: Tensor, scale: int, side_px: int) -> None:
        """Begin without a tile.

        Args:
            pixels: the input, 1 x 3 x h x w in 0..1.
            scale: factor of the network.
            side_px: side of the tiles of the input.
        """
        height, width = pixels.shape[-2:]
        self._pixels = pixels
        self._scale = scale
        self._tiles = list(_tiles(width, height, side_px))
        self._sum = pixels.new_zeros((1, 3, height * scale, width * scale))
        self._weights = torch.zeros_like(self._sum[:, :1])

    @property
    def complete(self) -> bool:
        """Whether every tile is there."""
        return not self._tiles

    def enlarge_next(self, network: nn.Module) -> None:
        """Put the next tile through a network, and lay it down."""
        rows, columns = tile = self._tiles[0]
        cut = self._pixels[..., rows, columns].contiguous(memory_format=torch.channels_last)
        enlarged = network(cut).clamp(0, 1)
        there = (..., *(slice(part.start * self._scale, part.stop * self._scale) for part in tile))
        height, width = enlarged.shape[-2:]
        overlap = OVERLAP_PX * self._scale
        weight = ramp(height, overlap, enlarged)[:, None] * ramp(width, overlap, enlarged)
        self._sum[there] += enlarged * weight
        self._weights[there] += weight
        self._tiles.pop(0)

    def picture(self) -> Tensor:
        """Return 1 x 3 x h x w in 0..1; the canvas is used up."""
        return self._sum.div_(self._weights)

    def move(self, device: torch.device) -> None:
        """Move all that it holds to a device; no bit changes."""
        self._pixels, self._sum, self._weights = (
            tensor.to(device) for tensor in (self._pixels, self._sum, self._weights)
        )


def _tiles(width: int, height: int, side_px: int) -> Iterator[Tile]:
    for top in tile_starts(height, side_px):
        for left in tile_starts(width, side_px):
            yield slice(top, min(top + side_px, height)), slice(left, min(left + side_px, width))
