"""The tensors of the VAE."""

from collections.abc import Iterator

from ..configs import VaeConfig
from .tensor import Tensor, weight_and_bias

_ATTENTION = (
    ("to_q", "q", "query"),
    ("to_k", "k", "key"),
    ("to_v", "v", "value"),
    ("to_out.0", "proj_out", "proj_attn"),
)
"""Layers of an attention: diffusers' name, the original one, diffusers' older one."""


def is_of_encoder(tensor: Tensor) -> bool:
    """Tell whether a tensor of the VAE serves to encode pictures alone, which making one from text does not."""
    return tensor.diffusers.startswith(("encoder.conv", "encoder.down_blocks.", "encoder.mid_block.", "quant_conv."))


def vae_tensors(config: VaeConfig) -> Iterator[Tensor]:
    """Yield every tensor of a VAE."""
    latent = config.latent_channels
    yield from _encoder(config)
    if config.use_quant_conv:
        yield from weight_and_bias("quant_conv", "quant_conv", (2 * latent, 2 * latent, 1, 1))
    if config.use_post_quant_conv:
        yield from weight_and_bias("post_quant_conv", "post_quant_conv", (latent, latent, 1, 1))
    yield from _decoder(config)


def _encoder(config: VaeConfig) -> Iterator[Tensor]:
    widths = config.block_out_channels
    yield from weight_and_bias("encoder.conv_in", "encoder.conv_in", (widths[0], config.in_channels, 3, 3))
    width = widths[0]
    for block, wanted in enumerate(widths):
        diffusers, original = f"encoder.down_blocks.{block}", f"encoder.down.{block}"
        for layer in range(config.layers_per_block):
            yield from _resnet(f"{diffusers}.resnets.{layer}", f"{original}.block.{layer}", width, wanted)
            width = wanted
        if block < len(widths) - 1:
            yield from weight_and_bias(
                f"{diffusers}.downsamplers.0.conv", f"{original}.downsample.conv", (width, width, 3, 3)
            )
    yield from _middle("encoder", width, config)
    yield from weight_and_bias("encoder.conv_norm_out", "encoder.norm_out", (width,))
    yield from weight_and_bias("encoder.conv_out", "encoder.conv_out", (2 * config.latent_channels, width, 3, 3))


def _decoder(config: VaeConfig) -> Iterator[Tensor]:
    widths = config.block_out_channels[::-1]
    width = widths[0]
    yield from weight_and_bias("decoder.conv_in", "decoder.conv_in", (width, config.latent_channels, 3, 3))
    yield from _middle("decoder", width, config)
    for block, wanted in enumerate(widths):
        diffusers, original = f"decoder.up_blocks.{block}", f"decoder.up.{len(widths) - 1 - block}"
        for layer in range(config.layers_per_block + 1):
            yield from _resnet(f"{diffusers}.resnets.{layer}", f"{original}.block.{layer}", width, wanted)
            width = wanted
        if block < len(widths) - 1:
            yield from weight_and_bias(
                f"{diffusers}.upsamplers.0.conv", f"{original}.upsample.conv", (width, width, 3, 3)
            )
    yield from weight_and_bias("decoder.conv_norm_out", "decoder.norm_out", (width,))
    yield from weight_and_bias("decoder.conv_out", "decoder.conv_out", (config.out_channels, width, 3, 3))


def _middle(part: str, width: int, config: VaeConfig) -> Iterator[Tensor]:
    for index in range(2):
        yield from _resnet(f"{part}.mid_block.resnets.{index}", f"{part}.mid.block_{index + 1}", width, width)
    if config.mid_block_add_attention:
        yield from _attention(f"{part}.mid_block.attentions.0", f"{part}.mid.attn_1", width)


def _resnet(diffusers: str, original: str, width: int, wanted: int) -> Iterator[Tensor]:
    yield from weight_and_bias(f"{diffusers}.norm1", f"{original}.norm1", (width,))
    yield from weight_and_bias(f"{diffusers}.conv1", f"{original}.conv1", (wanted, width, 3, 3))
    yield from weight_and_bias(f"{diffusers}.norm2", f"{original}.norm2", (wanted,))
    yield from weight_and_bias(f"{diffusers}.conv2", f"{original}.conv2", (wanted, wanted, 3, 3))
    if width != wanted:
        yield from weight_and_bias(f"{diffusers}.conv_shortcut", f"{original}.nin_shortcut", (wanted, width, 1, 1))


def _attention(diffusers: str, original: str, width: int) -> Iterator[Tensor]:
    yield from weight_and_bias(f"{diffusers}.group_norm", f"{original}.norm", (width,))
    for name, originally, older in _ATTENTION:
        for suffix, shape in (("weight", (width, width)), ("bias", (width,))):
            yield Tensor(
                diffusers=f"{diffusers}.{name}.{suffix}",
                original=f"{original}.{originally}.{suffix}",
                shape=shape,
                # Diffusers' own script left names of its layers as they were for some versions.
                older=tuple(
                    f"{place}.{other}.{suffix}"
                    for place, other in ((diffusers, older), (original, name), (original, older))
                ),
            )
