"""Encodes the picture that a request begins from to a distribution over latents."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.func import functional_call

from ....domain.errors import FieldError, InvalidRequest, NotFinite
from ....domain.families.latents import LATENT_SCALE
from ....domain.families.sdxl.activations import tile_px
from ....domain.requests.pictures.picture import MaskContent, Picture, Upload
from ....domain.requests.pictures.source import FromLatents, FromMaskedImage, FromNoise, FromPictures, Source
from ...diffusion.encoded_pictures import LatentDistribution
from ...diffusion.tiles import encode_in_tiles
from ..loading.components import SdxlModel
from .enlarged_latents import enlarged_latents

_NO_ENCODER = "this model cannot begin from a picture: its file holds a VAE without encoder. Use a whole checkpoint"
_MOMENTS = 8
"""Numbers for each cell of the latents: a mean and a logarithm of a variance for each of the four channels."""
_MIN_LOG_VARIANCE, _MAX_LOG_VARIANCE = -30.0, 20.0
"""Range of the encoder's logarithm of the variance, as in diffusers' `DiagonalGaussianDistribution`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StartingPoint:
    """What an image begins from beside its noise."""

    latents: LatentDistribution | Tensor | None
    """Tensor: in the denoiser's scale, 1 x 4 x h x w, on the device. None: noise alone."""
    mask: Tensor | None
    """1 x 1 x h x w, 1 where the picture is painted again, else 0; None for all of it."""
    content: MaskContent = "original"
    """What takes the place of the masked latents before noise is added."""
    around: LatentDistribution | None = None
    """The picture without the masked part, which a UNet for inpainting sees; None for other UNets."""


def encode_source(
    model: SdxlModel, source: Source, size_px: tuple[int, int], index: int = 0, *, tiled: bool = False
) -> StartingPoint | None:
    """Encode what an image begins from; None for pure noise.

    Args:
        model: the model with the VAE.
        source: of a prepared request.
        size_px: width and height of the image.
        index: number of the image in its request.
        tiled: encode in overlapping tiles.

    Raises:
        InvalidRequest: the model's file holds no encoder.
        NotFinite: NaN or Inf in float32 too.
    """
    begins = _begin(model, source, index, tiled)
    if not model.is_for_inpainting:
        return begins
    begins = begins or StartingPoint(latents=None, mask=None)
    return replace(begins, around=_encoded_around(model, source, size_px, tiled))


def _begin(model: SdxlModel, source: Source, index: int, tiled: bool) -> StartingPoint | None:
    if isinstance(source, FromNoise):
        return None
    if isinstance(source, FromLatents):
        return StartingPoint(latents=enlarged_latents(source, index, model.vae.device), mask=None)
    if isinstance(source, FromPictures):
        refuse_without_encoder(model, "hires.upscaler")
        return StartingPoint(latents=_encoded(model, source.pictures[index], tiled), mask=None)
    refuse_without_encoder(model, "image")
    latents = _encoded(model, _prepared(source.image), tiled)
    if not isinstance(source, FromMaskedImage):
        return StartingPoint(latents=latents, mask=None)
    mask = _latent_mask(_prepared(source.mask), model.vae.device)
    return StartingPoint(latents=latents, mask=mask, content=source.mask_content)


def _prepared(picture: Upload | Picture) -> Picture:
    assert isinstance(picture, Picture), "the request was not prepared"
    return picture


def refuse_without_encoder(model: SdxlModel, field: str) -> None:
    """Refuse a request that needs the VAE's encoder, if there is none.

    Raises:
        InvalidRequest: there is none.
    """
    if model.vae.encoder is None:
        raise InvalidRequest([FieldError(field=field, message=_NO_ENCODER)])


def _encoded(model: SdxlModel, picture: Picture, tiled: bool) -> LatentDistribution:
    return _encoded_once(model, picture.digest, lambda: _pixels(picture, model.vae.device), tiled)


def _encoded_around(model: SdxlModel, source: Source, size_px: tuple[int, int], tiled: bool) -> LatentDistribution:
    """Encode the picture with grey in the place of the masked part; all of it is grey if there is no mask."""
    device = model.vae.device
    if isinstance(source, FromMaskedImage):
        image, mask = _prepared(source.image), _prepared(source.mask)
        key = f"{image.digest} around {mask.digest}"
        return _encoded_once(model, key, lambda: _pixels(image, device) * (_mask_pixels(mask, device) < 0.5), tiled)
    refuse_without_encoder(model, "model")
    width, height = size_px
    return _encoded_once(
        model, f"grey {width} x {height}", lambda: torch.zeros(1, 3, height, width, device=device), tiled
    )


def _encoded_once(model: SdxlModel, name: str, pixels: Callable[[], Tensor], tiled: bool) -> LatentDistribution:
    """Encode pixels, 1 x 3 x height x width in -1..1, unless a picture of this name has been encoded before."""
    key = f"{name} {'tiled' if tiled else 'whole'}"
    found = model.pictures.get(key)
    if found is None:
        moments = _moments(model, pixels(), tiled)
        mean, log_variance = moments.chunk(2, dim=1)
        deviation = torch.exp(0.5 * log_variance.clamp(_MIN_LOG_VARIANCE, _MAX_LOG_VARIANCE))
        found = LatentDistribution(mean=mean, deviation=deviation)
        model.pictures.put(key, found)
    return found.on(model.vae.device)


def _moments(model: SdxlModel, pixels: Tensor, tiled: bool) -> Tensor:
    """Compute means and logarithms of variances: 1 x 8 x h x w, float32."""
    config: Any = model.vae.config
    encoders = [_encode_fp32] if config.force_upcast and model.dtype != torch.float32 else [_encode, _encode_fp32]
    for encode in encoders:
        moments = _in_one_or_tiles(encode, model, pixels, tiled)
        if torch.isfinite(moments).all():
            return moments
    raise NotFinite("The picture was encoded to NaN or Inf, in float32 too: the VAE of this model's file is damaged.")


def _in_one_or_tiles(
    encode: Callable[[SdxlModel, Tensor], Tensor], model: SdxlModel, pixels: Tensor, tiled: bool
) -> Tensor:
    if not tiled:
        return encode(model, pixels).float()
    height, width = pixels.shape[-2:]
    side = tile_px(width, height) // LATENT_SCALE
    return encode_in_tiles(lambda tile: encode(model, tile), pixels, side, _MOMENTS)


def _encode(model: SdxlModel, pixels: Tensor) -> Tensor:
    """Do the work of `AutoencoderKL.encode` without its wrappers, in the model's dtype."""
    vae = model.vae
    hidden = vae.encoder(pixels.to(model.dtype).contiguous(memory_format=torch.channels_last))
    return vae.quant_conv(hidden) if vae.quant_conv is not None else hidden


def _encode_fp32(model: SdxlModel, pixels: Tensor) -> Tensor:
    """Encode with fp32 copies of the weights that live for this one call; the VAE itself is never changed."""
    vae = model.vae
    hidden = functional_call(vae.encoder, _fp32(vae.encoder), pixels)
    return functional_call(vae.quant_conv, _fp32(vae.quant_conv), hidden) if vae.quant_conv is not None else hidden


def _fp32(module: torch.nn.Module) -> dict[str, Tensor]:
    return {name: parameter.float() for name, parameter in module.named_parameters()}


def _pixels(picture: Picture, device: torch.device) -> Tensor:
    """Return 1 x 3 x height x width in -1..1, float32."""
    rows = np.frombuffer(picture.pixels, np.uint8).reshape(1, picture.height, picture.width, picture.channels)
    return torch.from_numpy(rows.copy()).to(device).permute(0, 3, 1, 2).float().div_(127.5).sub_(1)


def _latent_mask(mask: Picture, device: torch.device) -> Tensor:
    """Take the mask's value at one pixel for each cell of the latents, as diffusers does."""
    return torch.nn.functional.interpolate(
        _mask_pixels(mask, device), size=(mask.height // LATENT_SCALE, mask.width // LATENT_SCALE)
    )


def _mask_pixels(mask: Picture, device: torch.device) -> Tensor:
    """Return 1 x 1 x height x width in 0..1, float32."""
    rows = np.frombuffer(mask.pixels, np.uint8).reshape(1, 1, mask.height, mask.width)
    return torch.from_numpy(rows.copy()).to(device).float().div_(255)
