"""Decodes latents to pixels, in float32 if 16 bits overflow, so that no image comes out black."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from ....domain.errors import NotFinite
from ....domain.families.latents import LATENT_SCALE
from ....domain.families.sdxl.activations import tile_px
from ....domain.requests.rendering import RawImage
from ...diffusion.tiles import TiledPicture
from ..loading.components import SdxlModel
from .latent_scale import in_vae_scale

_Decoder = Callable[[SdxlModel, Tensor], Tensor]


def decode(model: SdxlModel, latents: Tensor, *, tiled: bool = False) -> tuple[RawImage, str | None]:
    """Decode the latents of one image, 1 x 4 x h x w, in one call; see `ImageDecode`.

    Returns:
        The picture, and a warning if fp32 was needed.
    """
    decoding = ImageDecode(model, latents, tiled=tiled)
    while decoding.image is None:
        decoding.advance(model)
    return decoding.image, decoding.warning


class ImageDecode:
    """Decodes the latents of one image, a tile a call if it is tiled; again in fp32 if the result is not finite."""

    def __init__(self, model: SdxlModel, latents: Tensor, *, tiled: bool) -> None:
        """Begin without a pixel.

        Args:
            model: the model with the VAE.
            latents: latents in the denoiser's scale, 1 x 4 x h x w.
            tiled: decode in overlapping tiles, which needs less memory and changes the image a little.
        """
        config: Any = model.vae.config
        self._latents = in_vae_scale(latents, config)
        self._tiled = tiled
        needs_fp32 = model.dtype == torch.float16 and config.force_upcast
        self._decoders: list[_Decoder] = [_decode_fp32] if needs_fp32 else [_decode, _decode_fp32]
        self._tiles = self._new_tiles()
        self.image: RawImage | None = None
        """The picture, once it is there."""
        self.warning: str | None = None
        """Warning for the client if fp32 was needed."""

    def advance(self, model: SdxlModel) -> None:
        """Decode the next tile, or all if it is not tiled.

        Args:
            model: as at first, or loaded anew with the same weights.

        Raises:
            NotFinite: NaN or Inf in fp32 too.
        """
        decoder = self._decoders[0]
        if self._tiles is None:
            self._check(model, decoder(model, self._latents))
            return
        self._tiles.apply_next(lambda tile: decoder(model, tile))
        if self._tiles.complete:
            self._check(model, self._tiles.result())

    def move(self, device: torch.device) -> None:
        """Move all that it holds to a device; no bit changes."""
        self._latents = self._latents.to(device)
        if self._tiles is not None:
            self._tiles.move(device)

    def _check(self, model: SdxlModel, pixels: Tensor) -> None:
        """Take the pixels if they are finite; otherwise begin again with the next decoder."""
        if bool(torch.isfinite(pixels).all()):
            self.image = _raw(pixels)
            return
        self._decoders.pop(0)
        if not self._decoders:
            raise NotFinite(
                "The image came out as NaN or Inf, in float32 too. Another sampler, more steps or less guidance usually "
                "helps; if every image of this model does this, its file is damaged."
            )
        self._tiles = self._new_tiles()
        dtype = str(model.dtype).removeprefix("torch.")
        self.warning = f"The VAE overflowed in {dtype}; the image was decoded again in float32."

    def _new_tiles(self) -> TiledPicture | None:
        if not self._tiled:
            return None
        height, width = self._latents.shape[-2:]
        side = tile_px(width * LATENT_SCALE, height * LATENT_SCALE) // LATENT_SCALE
        return TiledPicture.decoded(self._latents, side)


def _decode(model: SdxlModel, scaled: Tensor) -> Tensor:
    """Do the work of `AutoencoderKL.decode` without its wrappers."""
    vae = model.vae
    hidden = vae.post_quant_conv(scaled) if vae.post_quant_conv is not None else scaled
    return vae.decoder(hidden.contiguous(memory_format=torch.channels_last))


def _decode_fp32(model: SdxlModel, scaled: Tensor) -> Tensor:
    """Decode with fp32 copies of the weights that live for this one call; the VAE itself is never changed."""
    vae = model.vae
    hidden = scaled.float()
    if vae.post_quant_conv is not None:
        hidden = functional_call(vae.post_quant_conv, _fp32(vae.post_quant_conv), hidden)
    return functional_call(vae.decoder, _fp32(vae.decoder), hidden)


def _fp32(module: nn.Module) -> dict[str, Tensor]:
    return {name: parameter.float() for name, parameter in module.named_parameters()}


def _raw(pixels: Tensor) -> RawImage:
    """Convert 1 x 3 x height x width in -1..1 to 8 bits a channel on the device, then copy it to the host."""
    scaled = (pixels[0].float() / 2 + 0.5).clamp(0, 1).mul(255).round().to(torch.uint8)
    rows = scaled.permute(1, 2, 0).contiguous().cpu()
    return RawImage(width=rows.shape[1], height=rows.shape[0], pixels=rows.numpy().tobytes())
