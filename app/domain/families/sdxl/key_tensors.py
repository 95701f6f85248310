"""The tensors by which a header is checked: one or a few for each size that the component configs promise."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from ..reading import Shapes
from .configs import ComponentConfigs, TextEncoderConfig, UnetConfig, VaeConfig

ComponentName = Literal["unet", "vae", "text_encoder", "text_encoder_2"]
COMPONENTS: tuple[ComponentName, ...] = ("unet", "vae", "text_encoder", "text_encoder_2")
PREFIXES: dict[ComponentName, str] = {
    "unet": "model.diffusion_model.",
    "vae": "first_stage_model.",
    "text_encoder": "conditioner.embedders.0.transformer.text_model.",
    "text_encoder_2": "conditioner.embedders.1.model.",
}
"""Prefixes of each component's tensors in a single file."""
TITLES: dict[ComponentName, str] = {
    "unet": "UNet",
    "vae": "VAE",
    "text_encoder": "first text encoder",
    "text_encoder_2": "second text encoder",
}
_MAX_NAMED = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyTensor:
    """A tensor under its two names, without the component's prefix."""

    component: ComponentName
    original: str
    """Name in a single file."""
    diffusers: str
    """Name in a diffusers folder."""
    shape: tuple[int, ...]


def checkpoint_problems(shapes: Shapes, configs: ComponentConfigs) -> list[str]:
    """List what a single file lacks, or has in another size than the configs say; empty if it fits."""
    names = "\n" + "\n".join(shapes)
    lacking: list[ComponentName] = [name for name in COMPONENTS if f"\n{PREFIXES[name]}" not in names]
    problems = [f"it lacks its {TITLES[name]}" for name in lacking]
    for tensor in _key_tensors(configs):
        if tensor.component not in lacking:
            problems += _problem(PREFIXES[tensor.component] + tensor.original, tensor.shape, shapes)
    return problems


def component_problems(component: ComponentName, shapes: Shapes, configs: ComponentConfigs) -> list[str]:
    """List the same for the weights of one component in a diffusers folder."""
    bare = {key.removeprefix("text_model."): shape for key, shape in shapes.items()}  # transformers 5 drops the prefix
    problems: list[str] = []
    for tensor in _key_tensors(configs):
        if tensor.component == component:
            problems += _problem(tensor.diffusers, tensor.shape, bare)
    return problems


def join_problems(problems: list[str]) -> str:
    """Join the first few problems into one sentence."""
    more = f"; and {len(problems) - _MAX_NAMED} more" if len(problems) > _MAX_NAMED else ""
    return f"{'; '.join(problems[:_MAX_NAMED])}{more}"


def _problem(key: str, wanted: tuple[int, ...], shapes: Shapes) -> list[str]:
    found = shapes.get(key)
    if found is None:
        return [f"{key} is missing"]
    return [] if found == wanted else [f"{key} has shape {list(found)} where {list(wanted)} is needed"]


def _key_tensors(configs: ComponentConfigs) -> Iterator[KeyTensor]:
    for original, diffusers, shape in _unet(configs.unet):
        yield KeyTensor(component="unet", original=original, diffusers=diffusers, shape=shape)
    for name, shape in _vae(configs.vae):
        yield KeyTensor(component="vae", original=name, diffusers=name, shape=shape)
    for name, shape in _text_encoder(configs.text_encoder):
        yield KeyTensor(component="text_encoder", original=name, diffusers=name, shape=shape)
    for original, diffusers, shape in _text_encoder_2(configs.text_encoder_2):
        yield KeyTensor(component="text_encoder_2", original=original, diffusers=diffusers, shape=shape)


def _unet(config: UnetConfig) -> Iterator[tuple[str, str, tuple[int, ...]]]:
    first, last = config.block_out_channels[0], config.block_out_channels[-1]
    yield "input_blocks.0.0.weight", "conv_in.weight", (first, config.in_channels, 3, 3)
    yield "out.2.weight", "conv_out.weight", (config.out_channels, first, 3, 3)
    if config.projection_class_embeddings_input_dim is not None:
        embedded = (4 * first, config.projection_class_embeddings_input_dim)
        yield "label_emb.0.0.weight", "add_embedding.linear_1.weight", embedded
    for block, kind in enumerate(config.down_block_types):
        if kind == "CrossAttnDownBlock2D":
            keys = f"transformer_blocks.{config.depth(block) - 1}.attn2.to_k.weight"
            position = 1 + block * (config.layers_per_block + 1)
            shape = (config.block_out_channels[block], config.cross_attention_dim)
            yield f"input_blocks.{position}.1.{keys}", f"down_blocks.{block}.attentions.0.{keys}", shape
    keys = f"transformer_blocks.{config.depth(-1) - 1}.attn2.to_k.weight"
    yield f"middle_block.1.{keys}", f"mid_block.attentions.0.{keys}", (last, config.cross_attention_dim)


def _vae(config: VaeConfig) -> Iterator[tuple[str, tuple[int, ...]]]:
    first, last = config.block_out_channels[0], config.block_out_channels[-1]
    yield "encoder.conv_in.weight", (first, config.in_channels, 3, 3)
    yield "decoder.conv_in.weight", (last, config.latent_channels, 3, 3)
    yield "decoder.conv_out.weight", (config.out_channels, first, 3, 3)


def _text_encoder(config: TextEncoderConfig) -> Iterator[tuple[str, tuple[int, ...]]]:
    yield "embeddings.token_embedding.weight", (config.vocab_size, config.hidden_size)
    yield "embeddings.position_embedding.weight", (config.max_position_embeddings, config.hidden_size)
    deepest = config.num_hidden_layers - 1
    yield f"encoder.layers.{deepest}.mlp.fc1.weight", (config.intermediate_size, config.hidden_size)


def _text_encoder_2(config: TextEncoderConfig) -> Iterator[tuple[str, str, tuple[int, ...]]]:
    """Yield the tensors of `_text_encoder` under OpenCLIP's names."""
    deepest = config.num_hidden_layers - 1
    originals = (
        "token_embedding.weight",
        "positional_embedding",
        f"transformer.resblocks.{deepest}.mlp.c_fc.weight",
    )
    for original, (name, shape) in zip(originals, _text_encoder(config), strict=True):
        yield original, name, shape
