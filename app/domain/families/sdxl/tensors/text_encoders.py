"""The tensors of a CLIP text encoder; in the original layout the second one has OpenCLIP's names."""

from collections.abc import Iterator

from ..configs import TextEncoderConfig
from .tensor import Tensor, weight_and_bias


def text_tensors(config: TextEncoderConfig, *, projected: bool) -> Iterator[Tensor]:
    """Yield every tensor of a text encoder; `projected` for the one that ends in a projection."""
    width = config.hidden_size
    yield Tensor(
        diffusers="embeddings.token_embedding.weight",
        original="token_embedding.weight",
        shape=(config.vocab_size, width),
    )
    yield Tensor(
        diffusers="embeddings.position_embedding.weight",
        original="positional_embedding",
        shape=(config.max_position_embeddings, width),
    )
    for layer in range(config.num_hidden_layers):
        yield from _layer(f"encoder.layers.{layer}", f"transformer.resblocks.{layer}", config)
    yield from weight_and_bias("final_layer_norm", "ln_final", (width,))
    if projected:
        yield Tensor(
            diffusers="text_projection.weight",
            original="text_projection",
            shape=(config.projection_dim, width),
            transposed=True,
        )


def _layer(diffusers: str, original: str, config: TextEncoderConfig) -> Iterator[Tensor]:
    width, inner = config.hidden_size, config.intermediate_size
    for index, name in enumerate("qkv"):
        for suffix, shape in (("weight", (width, width)), ("bias", (width,))):
            yield Tensor(
                diffusers=f"{diffusers}.self_attn.{name}_proj.{suffix}",
                original=f"{original}.attn.in_proj_{suffix}",
                shape=shape,
                first_row=index * width,
            )
    yield from weight_and_bias(f"{diffusers}.self_attn.out_proj", f"{original}.attn.out_proj", (width, width))
    yield from weight_and_bias(f"{diffusers}.layer_norm1", f"{original}.ln_1", (width,))
    yield from weight_and_bias(f"{diffusers}.layer_norm2", f"{original}.ln_2", (width,))
    yield from weight_and_bias(f"{diffusers}.mlp.fc1", f"{original}.mlp.c_fc", (inner, width))
    yield from weight_and_bias(f"{diffusers}.mlp.fc2", f"{original}.mlp.c_proj", (width, inner))
