"""The tensors of the UNet."""

from collections.abc import Iterator
from dataclasses import dataclass

from ..configs import UnetConfig
from .tensor import Tensor, weight_and_bias


@dataclass(frozen=True, slots=True)
class _Attention:
    """Sizes of the attentions of a block."""

    width: int
    prompt_width: int
    is_linear: bool


def unet_tensors(config: UnetConfig) -> Iterator[Tensor]:
    """Yield every tensor of a UNet."""
    first = config.block_out_channels[0]
    yield from weight_and_bias("conv_in", "input_blocks.0.0", (first, config.in_channels, 3, 3))
    yield from weight_and_bias("time_embedding.linear_1", "time_embed.0", (4 * first, first))
    yield from weight_and_bias("time_embedding.linear_2", "time_embed.2", (4 * first, 4 * first))
    if config.projection_class_embeddings_input_dim is not None:
        sizes = (4 * first, config.projection_class_embeddings_input_dim)
        yield from weight_and_bias("add_embedding.linear_1", "label_emb.0.0", sizes)
        yield from weight_and_bias("add_embedding.linear_2", "label_emb.0.2", (4 * first, 4 * first))
    yield from _down(config)
    yield from _middle(config)
    yield from _up(config)
    yield from weight_and_bias("conv_norm_out", "out.0", (first,))
    yield from weight_and_bias("conv_out", "out.2", (config.out_channels, first, 3, 3))


def _down(config: UnetConfig) -> Iterator[Tensor]:
    widths = config.block_out_channels
    width, place = widths[0], 1
    for block, wanted in enumerate(widths):
        for layer in range(_entry(config.layers_per_block, block)):
            diffusers, original = f"down_blocks.{block}", f"input_blocks.{place}"
            yield from _resnet(f"{diffusers}.resnets.{layer}", f"{original}.0", width, wanted, 4 * widths[0])
            width, place = wanted, place + 1
            if "CrossAttn" in config.down_block_types[block]:
                depth = _entry(_transformer_layers(config, block), layer)
                names = f"{diffusers}.attentions.{layer}", f"{original}.1"
                yield from _attention(*names, _sizes(config, block), depth)
        if block < len(widths) - 1:
            names = f"down_blocks.{block}.downsamplers.0.conv", f"input_blocks.{place}.0.op"
            yield from weight_and_bias(*names, (width, width, 3, 3))
            place += 1


def _middle(config: UnetConfig) -> Iterator[Tensor]:
    width, time_width = config.block_out_channels[-1], 4 * config.block_out_channels[0]
    if config.mid_block_type is None:
        return
    yield from _resnet("mid_block.resnets.0", "middle_block.0", width, width, time_width)
    if config.mid_block_type == "UNetMidBlock2DCrossAttn":
        block = len(config.block_out_channels) - 1
        depth = _entry(_transformer_layers(config, block), 0)
        yield from _attention("mid_block.attentions.0", "middle_block.1", _sizes(config, block), depth)
        yield from _resnet("mid_block.resnets.1", "middle_block.2", width, width, time_width)


def _up(config: UnetConfig) -> Iterator[Tensor]:
    widths = config.block_out_channels[::-1]
    last, place, width = len(widths) - 1, 0, widths[0]
    for block, wanted in enumerate(widths):
        below = widths[min(block + 1, last)]
        layers = _entry(config.layers_per_block, last - block) + 1
        has_attention = "CrossAttn" in config.up_block_types[block]
        for layer in range(layers):
            diffusers, original = f"up_blocks.{block}", f"output_blocks.{place}"
            skipped = below if layer == layers - 1 else wanted
            yield from _resnet(
                f"{diffusers}.resnets.{layer}",
                f"{original}.0",
                width + skipped,
                wanted,
                4 * config.block_out_channels[0],
            )
            width, place = wanted, place + 1
            if has_attention:
                depth = _entry(_transformer_layers_back(config, block), layer)
                names = f"{diffusers}.attentions.{layer}", f"{original}.1"
                yield from _attention(*names, _sizes(config, last - block), depth)
        if block < last:
            names = f"up_blocks.{block}.upsamplers.0.conv", f"output_blocks.{place - 1}.{1 + has_attention}.conv"
            yield from weight_and_bias(*names, (width, width, 3, 3))


def _resnet(diffusers: str, original: str, width: int, wanted: int, time_width: int) -> Iterator[Tensor]:
    yield from weight_and_bias(f"{diffusers}.norm1", f"{original}.in_layers.0", (width,))
    yield from weight_and_bias(f"{diffusers}.conv1", f"{original}.in_layers.2", (wanted, width, 3, 3))
    yield from weight_and_bias(f"{diffusers}.time_emb_proj", f"{original}.emb_layers.1", (wanted, time_width))
    yield from weight_and_bias(f"{diffusers}.norm2", f"{original}.out_layers.0", (wanted,))
    yield from weight_and_bias(f"{diffusers}.conv2", f"{original}.out_layers.3", (wanted, wanted, 3, 3))
    if width != wanted:
        yield from weight_and_bias(f"{diffusers}.conv_shortcut", f"{original}.skip_connection", (wanted, width, 1, 1))


def _attention(diffusers: str, original: str, sizes: _Attention, depth: int) -> Iterator[Tensor]:
    width = sizes.width
    projection = (width, width) if sizes.is_linear else (width, width, 1, 1)
    yield from weight_and_bias(f"{diffusers}.norm", f"{original}.norm", (width,))
    yield from weight_and_bias(f"{diffusers}.proj_in", f"{original}.proj_in", projection)
    for layer in range(depth):
        for suffix, shape in _transformer(sizes):
            name = f"transformer_blocks.{layer}.{suffix}"
            yield Tensor(diffusers=f"{diffusers}.{name}", original=f"{original}.{name}", shape=shape)
    yield from weight_and_bias(f"{diffusers}.proj_out", f"{original}.proj_out", projection)


def _transformer(sizes: _Attention) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Yield the tensors of one transformer layer, whose names are the same in both layouts."""
    width = sizes.width
    for name, read in (("attn1", width), ("attn2", sizes.prompt_width)):
        yield f"{name}.to_q.weight", (width, width)
        yield f"{name}.to_k.weight", (width, read)
        yield f"{name}.to_v.weight", (width, read)
        yield f"{name}.to_out.0.weight", (width, width)
        yield f"{name}.to_out.0.bias", (width,)
    yield "ff.net.0.proj.weight", (8 * width, width)
    yield "ff.net.0.proj.bias", (8 * width,)
    yield "ff.net.2.weight", (width, 4 * width)
    yield "ff.net.2.bias", (width,)
    for norm in ("norm1", "norm2", "norm3"):
        yield f"{norm}.weight", (width,)
        yield f"{norm}.bias", (width,)


def _sizes(config: UnetConfig, block: int) -> _Attention:
    width, prompt_width = config.block_out_channels[block], _entry(config.cross_attention_dim, block)
    return _Attention(width, prompt_width, config.use_linear_projection)


def _transformer_layers(config: UnetConfig, block: int) -> int | tuple[int, ...]:
    layers = config.transformer_layers_per_block
    return layers if isinstance(layers, int) else layers[block]


def _transformer_layers_back(config: UnetConfig, block: int) -> int | tuple[int, ...]:
    back = config.reverse_transformer_layers_per_block
    return _transformer_layers(config, len(config.block_out_channels) - 1 - block) if back is None else back[block]


def _entry(value: int | tuple[int, ...], index: int) -> int:
    return value if isinstance(value, int) else value[index]
