"""The application on a device with faults: `uvicorn tests.load.faulty_app:create_app --factory`.

The width of a picture decides which fault it meets (see `plans.WIDTHS_PX`); besides, one in eight batches that several requests
share runs out of memory. The faults sit in the networks of diffusers, below all code of ours. `GET /load/integrity` has the pool
check its ledger.
"""

import random
from typing import Any

import torch
from diffusers.models.autoencoders.vae import Decoder
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from litestar import Litestar, get

from litestar_diffusion.asgi import create_app as create_usual_app
from litestar_diffusion.plugin import DiffusionPlugin

from .plans import WIDTHS_PX

_ROWS_OF_ONE_IMAGE = 2
_SHARED_FAILS_ONE_IN = 8

_denoise, _decode = UNet2DConditionModel.forward, Decoder.forward
_rng = random.Random(0)


def create_app() -> Litestar:
    """Build it; a factory for uvicorn."""
    UNet2DConditionModel.forward = _faulty_denoise
    Decoder.forward = _faulty_decode
    app = create_usual_app()
    plugin = app.plugins.get(DiffusionPlugin)

    @get("/load/integrity", sync_to_thread=False, status_code=204)
    def check_integrity() -> None:
        plugin.services.pool.check_integrity()

    app.register(check_integrity)
    return app


def _faulty_denoise(self: UNet2DConditionModel, sample: torch.Tensor, *arguments: Any, **named: Any) -> Any:
    width_px = sample.shape[-1] * 8
    shared_fails = len(sample) > _ROWS_OF_ONE_IMAGE and _rng.randrange(_SHARED_FAILS_ONE_IN) == 0
    if shared_fails or width_px in WIDTHS_PX["no_memory"]:
        raise torch.OutOfMemoryError("injected")
    predicted = _denoise(self, sample, *arguments, **named)
    if width_px in WIDTHS_PX["not_finite"]:
        predicted[0].fill_(torch.nan)
    return predicted


def _faulty_decode(self: Decoder, sample: torch.Tensor, *arguments: Any, **named: Any) -> Any:
    if sample.shape[-1] * 8 in WIDTHS_PX["tiled"]:
        raise torch.OutOfMemoryError("injected")
    return _decode(self, sample, *arguments, **named)
