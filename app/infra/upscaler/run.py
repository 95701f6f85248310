"""One request while its pictures are enlarged: the engine's thread takes a tile a step."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from ...domain.families.upscaler.tiles import side_of, sizes_of_passes, tiles_of_pass
from ...domain.requests.early_end import Ending
from ...domain.requests.pictures.picture import Picture
from ...domain.requests.pictures.source import Latents
from ...domain.requests.rendering import MemorySavings, RawImage
from ...domain.requests.upscaling.upscale_request import UpscaleRequest
from ..device.out_of_memory import stage
from .canvas import Canvas
from .load import UpscalerModel

_PREVIEW_PX = 256


class UpscaleRun:
    """Fulfils `Run`: the pictures of a request, one after the other, each tile by tile.

    Engine thread only. It shares no step: other lanes have their turn between two tiles, and a stopped request ends there.
    """

    rows = 1
    decoding = False
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
        _vae: object = None,
    ) -> None:
        """Do nothing yet; the pictures of the request are there."""
        self._model = model
        self._request = request
        self._side_px = side_of(small=memory_savings.small_tiles)
        sizes = sizes_of_passes(request.width, request.height, request.scale, request.passes)
        self.total = request.count * sum(tiles_of_pass(*size, self._side_px) for size in sizes)
        self.done = 0
        self._images: list[RawImage] = []
        self._passes_done = 0
        self._canvas: Canvas | None = None

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

    def park(self) -> None:
        """Keep the canvas on the host, because the ledger counts it on the device only while the request runs there."""
        if self._canvas is not None:
            self._canvas.move(torch.device("cpu"))

    def resume(self, networks: UpscalerModel, adapters: Sequence[object], vae: object) -> None:  # noqa: ARG002
        """Go on with an upscaler that may have been loaded anew."""
        self._model = networks
        if self._canvas is not None:
            with stage("upscale"):
                self._canvas.move(self._device)

    def preview(self) -> RawImage:
        """Show the picture that is enlarged, as it came, thinned out."""
        picture = self._request.pictures[min(len(self._images), self._request.count - 1)]
        step = -(-max(picture.width, picture.height) // _PREVIEW_PX)
        rows = np.frombuffer(picture.pixels, np.uint8).reshape(picture.height, picture.width, 3)[::step, ::step]
        return RawImage(width=rows.shape[1], height=rows.shape[0], pixels=rows.tobytes())

    def end_early(self, ending: Ending) -> None:
        """Do nothing: half of an enlarged picture is of no use."""

    def decode_next(self) -> None:
        """Do nothing: a picture is finished by its last tile."""

    def advance(self) -> None:
        """Enlarge the next tile.

        Raises:
            OutOfMemory: of the stage `upscale`.
        """
        with torch.inference_mode(), stage("upscale"):
            if self._canvas is None:
                pixels = _pixels(self._request.pictures[len(self._images)], self._device)
                self._canvas = Canvas(pixels, self._model.scale, self._side_px)
            self._canvas.enlarge_next(self._model.module)
            if self._canvas.complete:
                self._end_pass(self._canvas.picture())
        self.done += 1

    @property
    def _device(self) -> torch.device:
        return next(self._model.module.parameters()).device

    def _end_pass(self, pixels: Tensor) -> None:
        self._passes_done += 1
        if self._passes_done < self._request.passes:
            self._canvas = Canvas(pixels, self._model.scale, self._side_px)
            return
        self._images.append(_raw(pixels))
        self._passes_done, self._canvas = 0, None


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
