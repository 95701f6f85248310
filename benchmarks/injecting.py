"""The application with failures built in: `uvicorn benchmarks.injecting:create_app --factory`.

Pictures 72 pixels wide come out as NaN, in full precision too. Now and then a batch that several requests share runs out of
memory; alone, each of them does not.
"""

import random
from typing import Any

import torch
from diffusers.models.autoencoders.vae import Decoder
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from litestar import Litestar

from litestar_diffusion.asgi import create_app as create_usual_app

_NAN_WIDTH = 72 // 8
_OUT_OF_MEMORY_ONE_IN = 8

_decode, _predict = Decoder.forward, UNet2DConditionModel.forward
_rng = random.Random(0)


def create_app() -> Litestar:
    """A factory for uvicorn."""
    Decoder.forward = _failing_decode
    UNet2DConditionModel.forward = _failing_predict
    return create_usual_app()


def _failing_decode(self: Decoder, sample: torch.Tensor, *arguments: Any) -> torch.Tensor:
    decoded = _decode(self, sample, *arguments)
    return decoded * torch.nan if sample.shape[-1] == _NAN_WIDTH else decoded


def _failing_predict(self: UNet2DConditionModel, sample: torch.Tensor, *arguments: Any, **options: Any) -> Any:
    if len(sample) > 2 and _rng.randrange(_OUT_OF_MEMORY_ONE_IN) == 0:
        raise torch.OutOfMemoryError("injected")
    return _predict(self, sample, *arguments, **options)
