"""The application on a device with faults, for soaks: the side of a picture, in pixels, decides which (see `soaking.SIDES`).

The faults sit in diffusers' networks, below everything of ours. `GET /soak/integrity` lets the pool check its books.
"""

from typing import Any

import torch
from diffusers.models.autoencoders.vae import Decoder
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from litestar import Litestar, get

from benchmarks.soaking import SIDES
from litestar_diffusion.asgi import create_app as create_usual_app
from litestar_diffusion.plugin import DiffusionPlugin

_denoise, _decode = UNet2DConditionModel.forward, Decoder.forward


def create_app() -> Litestar:
    """A factory for uvicorn."""
    UNet2DConditionModel.forward = _faulty_denoise
    Decoder.forward = _faulty_decode
    app = create_usual_app()
    pool = app.plugins.get(DiffusionPlugin).services.pool

    @get("/soak/integrity", sync_to_thread=False, status_code=204)
    def check_integrity() -> None:
        pool.check_integrity()

    app.register(check_integrity)
    return app


def _faulty_denoise(self: UNet2DConditionModel, sample: torch.Tensor, *arguments: Any, **named: Any) -> Any:
    if sample.shape[-1] * 8 in SIDES["no_memory"]:
        raise torch.OutOfMemoryError("injected")
    outcome = _denoise(self, sample, *arguments, **named)
    if sample.shape[-1] * 8 in SIDES["not_finite"]:
        outcome[0].fill_(torch.nan)
    return outcome


def _faulty_decode(self: Decoder, sample: torch.Tensor, *arguments: Any, **named: Any) -> Any:
    if sample.shape[-1] * 8 in SIDES["tiled"]:
        raise torch.OutOfMemoryError("injected")
    return _decode(self, sample, *arguments, **named)
