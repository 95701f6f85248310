"""One request while its pictures are enlarged: the engine's thread takes a tile a step."""

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

from ...domain.families.upscaler.tiles import OVERLAP_PX, side_of, sizes_of_passes, tile_starts, tiles_of_pass
from ...domain.requests.early_end import Ending
from ...domain.requests.pictures import Picture
from ...domain.requests.rendering import MemorySavings, RawImage
from ...domain.requests.source import Latents
from ...domain.requests.upscale_request import UpscaleRequest
from ..device.out_of_memory import stage
from ..diffusion.tiles import ramp
from .load import UpscalerModel

_PREVIEW_PX = 256


class UpscaleRun:
    """Fulfils `Run`: the pictures of a request, one after the other, each tile by tile.

    Engine thread only. It shares no step: other lanes have their turn between two tiles, and a stopped request ends there.
    """

    rows = 1
    warnings: tuple[str, ...] = ()
    unfinished: frozenset[int] = frozenset()
    latents: tuple[Latents, ...] = ()
    encode_s = 0.0
    decode_s = 0.0

    def __init__(
        self,
        model: UpscalerModel,
        request: UpscaleRequest,
        memory_savings: MemorySavings,
        _at_once: int = 1,
        _adapters: Sequence[object] = (),
    ) -> None:
        """Do nothing yet; the pictures of the request are there."""
        self._model = model
        self._request = request
        self._side_px = side_of(small=memory_savings.small_tiles)
        sizes = sizes_of_passes(request.width, request.height, request.scale, request.passes)
        self.total = request.count * sum(tiles_of_pass(*size, self._side_px) for size in sizes)
        self.done = 0
        self._images: list[RawImage] = []
        self._steps = self._tile_by_tile()

    @property
    def lane(self) -> object:
        """Its own: it shares no step."""
        return id(self)

    @property
    def finished(self) -> bool:
        """Whether every picture is there."""
        return len(self._images) == self._request.count

    @property
    def images(self) -> tuple[RawImage, ...]:
        """In the order of the request's pictures."""
        return tuple(self._images)

    def preview(self) -> RawImage:
        """Show the picture that is enlarged, as it came, thinned out."""
        picture = self._request.pictures[min(len(self._images), self._request.count - 1)]
        step = -(-max(picture.width, picture.height) // _PREVIEW_PX)
        rows = np.frombuffer(picture.pixels, np.uint8).reshape(picture.height, picture.width, 3)[::step, ::step]
        return RawImage(width=rows.shape[1], height=rows.shape[0], pixels=rows.tobytes())

    def end_early(self, ending: Ending) -> None:
        """Do nothing: half of an enlarged picture is of no use."""

    def finish_images(self) -> None:
        """Do nothing: a picture is finished by its last tile."""

    def advance(self) -> None:
        """Enlarge the next tile.

        Raises:
            OutOfMemory: of the stage `upscale`.
        """
        with torch.inference_mode(), stage("upscale"):
            next(self._steps)
        self.done += 1

    def _tile_by_tile(self) -> Iterator[None]:
        for picture in self._request.pictures:
            pixels = _pixels(picture, next(self._model.module.parameters()).device)
            for done in range(1, self._request.passes + 1):
                canvas = _Canvas(pixels, self._model.scale)
                for tile in _tiles(pixels, self._side_px):
                    canvas.add(tile, self._model.module(_cut(pixels, tile)))
                    if not canvas.complete(self._side_px):
                        yield
                pixels = canvas.picture()
                if done == self._request.passes:
                    self._images.append(_raw(pixels))
                yield  # after the last tile, so that the step in which a picture is finished shows it


Tile = tuple[slice, slice]
"""Rows and columns of the input."""


class _Canvas:
    """The output of one pass, on which tiles are laid; where they overlap they are blended."""

    def __init__(self, pixels: Tensor, scale: int) -> None:
        height, width = pixels.shape[-2:]
        self._scale = scale
        self._size = (width, height)
        self._sum = pixels.new_zeros((1, 3, height * scale, width * scale))
        self._weights = torch.zeros_like(self._sum[:, :1])
        self._tiles = 0

    def add(self, tile: Tile, enlarged: Tensor) -> None:
        """Lay down a tile, enlarged: 1 x 3 x h x w in 0..1."""
        rows, columns = (slice(part.start * self._scale, part.stop * self._scale) for part in tile)
        height, width = enlarged.shape[-2:]
        overlap = OVERLAP_PX * self._scale
        weight = ramp(height, overlap, enlarged)[:, None] * ramp(width, overlap, enlarged)
        self._sum[..., rows, columns] += enlarged.clamp(0, 1) * weight
        self._weights[..., rows, columns] += weight
        self._tiles += 1

    def complete(self, side_px: int) -> bool:
        """Tell whether every tile is there."""
        return self._tiles == tiles_of_pass(*self._size, side_px)

    def picture(self) -> Tensor:
        """Return 1 x 3 x h x w in 0..1."""
        return self._sum.div_(self._weights)


def _tiles(pixels: Tensor, side_px: int) -> Iterator[Tile]:
    height, width = pixels.shape[-2:]
    for top in tile_starts(height, side_px):
        for left in tile_starts(width, side_px):
            yield slice(top, min(top + side_px, height)), slice(left, min(left + side_px, width))


def _cut(pixels: Tensor, tile: Tile) -> Tensor:
    return pixels[..., tile[0], tile[1]].contiguous(memory_format=torch.channels_last)


def _pixels(picture: Picture, device: torch.device) -> Tensor:
    """Return 1 x 3 x height x width in 0..1, float32."""
    rows = np.frombuffer(picture.pixels, np.uint8).reshape(1, picture.height, picture.width, 3)
    return torch.from_numpy(rows.copy()).to(device).permute(0, 3, 1, 2).float().div_(255)


def _raw(pixels: Tensor) -> RawImage:
    scaled = pixels[0].clamp(0, 1).mul(255).round().to(torch.uint8)
    rows = scaled.permute(1, 2, 0).contiguous().cpu()
    return RawImage(width=rows.shape[1], height=rows.shape[0], pixels=rows.numpy().tobytes())


class UpscaleForward:
    """Fulfils `BatchedForward`: a tile of one request after the other."""

    def step(self, runs: Sequence[UpscaleRun]) -> dict[UpscaleRun, Exception]:
        """Enlarge a tile of each run; returns those that failed, with the reason."""
        failed: dict[UpscaleRun, Exception] = {}
        for run in runs:
            try:
                run.advance()
            except Exception as error:
                failed[run] = error
        return failed

    def forget(self) -> None:
        """Hold nothing."""
