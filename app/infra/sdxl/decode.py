"""Decodes latents to pixels, in float32 if 16 bits overflow, so that no image comes out black."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from ...domain.errors import NotFinite
from ...domain.families.latents import LATENT_SCALE
from ...domain.families.sdxl.activations import tile_px
from ...domain.requests.rendering import RawImage
from ..diffusion.tiles import decode_in_tiles
from .components import SdxlModel
from .latent_scale import in_vae_scale


def decode(model: SdxlModel, latents: Tensor, *, tiled: bool = False) -> tuple[RawImage, str | None]:
    """Decode the latents of one image (1 x 4 x h x w); again in fp32 if the result is not finite.

    Args:
        model: the model with the VAE.
        latents: latents in the denoiser's scale.
        tiled: decode in overlapping tiles, which needs less memory and changes the image a little.

    Returns:
        The picture, and a warning if fp32 was needed.

    Raises:
        NotFinite: NaN or Inf in fp32 too.
    """
    config: Any = model.vae.config
    scaled = in_vae_scale(latents, config)
    warning = None
    if model.dtype == torch.float16 and config.force_upcast:
        pixels = _pixels(_decode_fp32, model, scaled, tiled)
    else:
        pixels = _pixels(_decode, model, scaled, tiled)
        if not _finite(pixels):
            pixels = _pixels(_decode_fp32, model, scaled, tiled)
            warning = f"The VAE overflowed in {str(model.dtype).removeprefix('torch.')}; the image was decoded again in float32."
    if not _finite(pixels):
        raise NotFinite(
            "The image came out as NaN or Inf, in float32 too. Another sampler, more steps or less guidance usually helps; "
            "if every image of this model does this, its file is damaged."
        )
    return _raw(pixels), warning


def _pixels(decoder: Callable[[SdxlModel, Tensor], Tensor], model: SdxlModel, scaled: Tensor, tiled: bool) -> Tensor:
    if not tiled:
        return decoder(model, scaled)
    height, width = scaled.shape[-2:]
    side = tile_px(width * LATENT_SCALE, height * LATENT_SCALE) // LATENT_SCALE
    return decode_in_tiles(lambda tile: decoder(model, tile), scaled, side)


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


def _finite(pixels: Tensor) -> bool:
    return bool(torch.isfinite(pixels).all())


def _raw(pixels: Tensor) -> RawImage:
    """Convert 1 x 3 x height x width in -1..1 to 8 bits a channel on the device, then copy it to the host."""
    scaled = (pixels[0].float() / 2 + 0.5).clamp(0, 1).mul(255).round().to(torch.uint8)
    rows = scaled.permute(1, 2, 0).contiguous().cpu()
    return RawImage(width=rows.shape[1], height=rows.shape[0], pixels=rows.numpy().tobytes())
