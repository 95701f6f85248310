"""The application on a device that is short of memory, for tests: pictures above 96 pixels must be decoded in tiles, and
those that are not square cannot be made at all."""

from typing import Any

import torch
from diffusers.models.autoencoders.vae import Decoder
from litestar import Litestar

from litestar_diffusion.asgi import create_app as create_usual_app

_forward = Decoder.forward


def create_app() -> Litestar:
    """A factory for uvicorn."""
    Decoder.forward = _decode
    return create_usual_app()


def _decode(self: Decoder, sample: torch.Tensor, *arguments: Any) -> torch.Tensor:
    if sample.shape[-1] > 12 or sample.shape[-1] != sample.shape[-2]:
        raise torch.OutOfMemoryError("injected")
    return _forward(self, sample, *arguments)
