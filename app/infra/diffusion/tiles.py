"""Decodes and encodes pictures in overlapping tiles that are blended into each other, if they are too large to do at once."""

from collections.abc import Callable

import torch
from torch import Tensor

from ...domain.families.latents import LATENT_SCALE

Apply = Callable[[Tensor], Tensor]
"""Latents, 1 x c x h x w, to pixels, 1 x 3 x 8h x 8w; or pixels to numbers for each cell of the latents."""

_OVERLAP = 4
"""Tiles overlap by at least a quarter of their side."""


class TiledPicture:
    """A picture that is decoded or encoded a tile at a time; holds one tile and the result in float32.

    All tiles have the same shape and are spread evenly, so that none is a thin strip at the border. Each is weighted with
    a ramp that falls off over the overlap, and the sum of the weights is divided out: no seam can show.
    """

    def __init__(self, inputs: Tensor, side: int, *, channels: int, read: int, written: int) -> None:
        """Begin without a tile.

        Args:
            inputs: 1 x c x h x w.
            side: side of a tile in cells of the latents.
            channels: channels of the result.
            read: numbers along a cell of the latents in `inputs`.
            written: numbers along a cell of the latents in the result.
        """
        height, width = (length // read for length in inputs.shape[-2:])
        tile_height, tile_width = min(side, height), min(side, width)
        self._inputs = inputs
        self._read, self._written = read, written
        self._sum = inputs.new_zeros((1, channels, height * written, width * written), dtype=torch.float32)
        self._weights = torch.zeros_like(self._sum[:, :1])
        self._left = [
            (slice(top, top + tile_height), slice(left, left + tile_width))
            for top in _starts(height, tile_height)
            for left in _starts(width, tile_width)
        ]

    @classmethod
    def decoded(cls, latents: Tensor, side: int) -> "TiledPicture":
        """Begin to decode latents, 1 x c x h x w, to pixels."""
        return cls(latents, side, channels=3, read=1, written=LATENT_SCALE)

    @property
    def complete(self) -> bool:
        """Whether every tile is there."""
        return not self._left

    def apply_next(self, apply: Apply) -> None:
        """Put the next tile through a network, and lay it down."""
        rows, columns = self._left[0]
        tile = apply(self._inputs[..., _times(rows, self._read), _times(columns, self._read)]).float()
        down, across = tile.shape[-2:]
        weight = ramp(down, down / _OVERLAP, tile)[:, None] * ramp(across, across / _OVERLAP, tile)
        there = (..., _times(rows, self._written), _times(columns, self._written))
        self._sum[there] += tile * weight
        self._weights[there] += weight
        self._left.pop(0)

    def result(self) -> Tensor:
        """Return the whole result in float32; the tiles are used up."""
        return self._sum.div_(self._weights)

    def move(self, device: torch.device) -> None:
        """Move all that it holds to a device; no bit changes."""
        self._inputs, self._sum, self._weights = (
            tensor.to(device) for tensor in (self._inputs, self._sum, self._weights)
        )


def encode_in_tiles(encode: Apply, pixels: Tensor, side: int, channels: int) -> Tensor:
    """Encode tile by tile, as `TiledPicture` tells.

    Args:
        encode: encodes pixels of any size.
        pixels: 1 x 3 x 8h x 8w.
        side: side of a tile in cells of the latents.
        channels: numbers that `encode` makes for each cell.
    """
    picture = TiledPicture(pixels, side, channels=channels, read=LATENT_SCALE, written=1)
    while not picture.complete:
        picture.apply_next(encode)
    return picture.result()


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
