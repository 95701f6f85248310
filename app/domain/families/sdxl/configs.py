"""What the configs of a model's components say; SDXL's own by default. Every field changes the network or the picture."""

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal, TypeVar

import msgspec
from msgspec import Meta

from ..json_config import decode_config
from ..reading import NotServable, ReadConfig
from .widths import Widths

Count = Annotated[int, Meta(ge=1, le=1_000_000)]
_Number = Annotated[float, Meta(gt=-1e6, lt=1e6)]
_Positive = Annotated[float, Meta(gt=0, lt=1e6)]
_Activation = Literal["silu", "swish", "mish", "gelu", "relu"]
_EachBlock = Count | tuple[Count, ...]
_LATENT_CHANNELS = 4
INPAINTING_CHANNELS = 2 * _LATENT_CHANNELS + 1
"""Channels of a UNet that sees, beside the latents, a mask and the latents of the picture around it."""
_VAE_BLOCKS = 4
"""Blocks of an autoencoder that makes latents of an eighth of the picture's side."""


class UnetConfig(msgspec.Struct, frozen=True, kw_only=True):
    """Fields of `unet/config.json`."""

    in_channels: int = _LATENT_CHANNELS
    out_channels: int = _LATENT_CHANNELS
    block_out_channels: tuple[Count, ...] = (320, 640, 1280)
    down_block_types: tuple[str, ...] = ("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D")
    mid_block_type: Literal["UNetMidBlock2DCrossAttn", "UNetMidBlock2D"] | None = "UNetMidBlock2DCrossAttn"
    up_block_types: tuple[str, ...] = ("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D")
    layers_per_block: _EachBlock = 2
    transformer_layers_per_block: Count | tuple[_EachBlock, ...] = (1, 2, 10)
    reverse_transformer_layers_per_block: tuple[_EachBlock, ...] | None = None
    attention_head_dim: _EachBlock = (5, 10, 20)
    """Number of heads in each block, in spite of its name."""
    cross_attention_dim: _EachBlock = 2048
    use_linear_projection: bool = True
    addition_time_embed_dim: Count | None = 256
    projection_class_embeddings_input_dim: Count | None = 2816
    time_cond_proj_dim: int | None = None
    """Set in models that take the guidance scale as an input, as some LCM ones do."""
    sample_size: Annotated[int, Meta(ge=8, le=512)] | tuple[int, ...] | None = None
    """Side of the latent; an eighth of the picture's."""
    center_input_sample: bool = False
    flip_sin_to_cos: bool = True
    freq_shift: _Number = 0
    downsample_padding: Literal[0, 1] = 1
    mid_block_scale_factor: _Positive = 1
    act_fn: _Activation = "silu"
    norm_num_groups: Count = 32
    norm_eps: _Positive = 1e-5

    def __post_init__(self) -> None:
        """Refuse fields that are given block by block, but not for each block."""
        each = (self.block_out_channels, self.down_block_types, self.transformer_layers_per_block)
        counts = {len(field) for field in each if not isinstance(field, int)}
        if len(counts) > 1 or 0 in counts:
            raise ValueError("block_out_channels, down_block_types and transformer_layers_per_block differ in length")

    def problems(self) -> Iterator[str]:
        """Say what makes a network impossible, or one that is not served."""
        yield from _unknown_kinds("down_block_types", self.down_block_types, ("DownBlock2D", "CrossAttnDownBlock2D"))
        yield from _unknown_kinds("up_block_types", self.up_block_types, ("UpBlock2D", "CrossAttnUpBlock2D"))
        blocks = len(self.block_out_channels)
        for name in ("up_block_types", "layers_per_block", "attention_head_dim", "cross_attention_dim"):
            field = getattr(self, name)
            if not isinstance(field, int) and len(field) != blocks:
                yield f"{name} has {len(field)} entries for {blocks} blocks"
                return
        if self.in_channels not in (_LATENT_CHANNELS, INPAINTING_CHANNELS) or self.out_channels != _LATENT_CHANNELS:
            yield (
                f"in_channels must be {_LATENT_CHANNELS}, or {INPAINTING_CHANNELS} for inpainting, and out_channels "
                f"{_LATENT_CHANNELS}"
            )
        yield from _group_problems(self.block_out_channels, self.norm_num_groups)
        if any(channels % self.heads(block) for block, channels in enumerate(self.block_out_channels)):
            yield "attention_head_dim must divide block_out_channels"
        yield from self._depth_problems()

    def _depth_problems(self) -> Iterator[str]:
        each, back = self.transformer_layers_per_block, self.reverse_transformer_layers_per_block
        if back is None and not isinstance(each, int) and any(not isinstance(depth, int) for depth in each):
            yield "reverse_transformer_layers_per_block must be given if transformer_layers_per_block holds lists"
            return
        blocks = len(self.block_out_channels)
        if back is not None and len(back) != blocks:
            yield f"reverse_transformer_layers_per_block must have {blocks} entries"
            return
        for block in range(blocks):
            down, up = self.layers(block), self.layers(blocks - 1 - block) + 1
            if not _fits(self.transformer_layers(block), down) or not _fits(self.transformer_layers_back(block), up):
                yield "transformer_layers_per_block must have an entry for each layer of a block"

    def layers(self, block: int) -> int:
        """Count the layers of a block on the way down."""
        return _entry(self.layers_per_block, block)

    def heads(self, block: int) -> int:
        """Count the heads of each attention in a block."""
        return _entry(self.attention_head_dim, block)

    def prompt_width(self, block: int) -> int:
        """Return the width of the prompt's embeddings that a block attends to."""
        return _entry(self.cross_attention_dim, block)

    def transformer_layers(self, block: int) -> _EachBlock:
        """Return the number of transformer layers in all attentions of a block on the way down, or in each."""
        layers = self.transformer_layers_per_block
        return layers if isinstance(layers, int) else layers[block]

    def transformer_layers_back(self, block: int) -> _EachBlock:
        """Return the same for a block on the way up, counted from the first one."""
        if self.reverse_transformer_layers_per_block is not None:
            return self.reverse_transformer_layers_per_block[block]
        return self.transformer_layers(len(self.block_out_channels) - 1 - block)

    def depth(self, block: int) -> int:
        """Count the transformer layers of the first attention in a block."""
        return _entry(self.transformer_layers(block), 0)

    @property
    def prompt_channels(self) -> int:
        """Channels of all cross-attention layers together."""
        blocks = len(self.block_out_channels)
        total = 0
        for block, kind in enumerate(self.down_block_types):
            if "CrossAttn" in kind:
                depths = (_entry(self.transformer_layers(block), layer) for layer in range(self.layers(block)))
                total += sum(depths) * self.block_out_channels[block]
        for block, kind in enumerate(self.up_block_types):
            if "CrossAttn" in kind:
                layers = range(self.layers(blocks - 1 - block) + 1)
                depths = (_entry(self.transformer_layers_back(block), layer) for layer in layers)
                total += sum(depths) * self.block_out_channels[blocks - 1 - block]
        if self.mid_block_type == "UNetMidBlock2DCrossAttn":
            total += self.depth(blocks - 1) * self.block_out_channels[-1]
        return total


_PerChannel = Annotated[tuple[_Number, ...], Meta(min_length=_LATENT_CHANNELS, max_length=_LATENT_CHANNELS)]


class VaeConfig(msgspec.Struct, frozen=True, kw_only=True):
    """Fields of `vae/config.json`."""

    in_channels: int = 3
    out_channels: int = 3
    latent_channels: int = _LATENT_CHANNELS
    block_out_channels: Annotated[tuple[Count, ...], Meta(min_length=1)] = (128, 256, 512, 512)
    down_block_types: tuple[str, ...] = ("DownEncoderBlock2D",) * _VAE_BLOCKS
    up_block_types: tuple[str, ...] = ("UpDecoderBlock2D",) * _VAE_BLOCKS
    layers_per_block: Count = 2
    act_fn: _Activation = "silu"
    norm_num_groups: Count = 32
    scaling_factor: _Positive = 0.13025
    latents_mean: _PerChannel | None = None
    latents_std: _PerChannel | None = None
    force_upcast: bool = True
    use_quant_conv: bool = True
    use_post_quant_conv: bool = True
    mid_block_add_attention: bool = True

    def problems(self) -> Iterator[str]:
        """Say what makes a network impossible, or one that is not served."""
        if (self.in_channels, self.out_channels, self.latent_channels) != (3, 3, _LATENT_CHANNELS):
            yield f"in_channels and out_channels must be 3, latent_channels must be {_LATENT_CHANNELS}"
        yield from _unknown_kinds("down_block_types", self.down_block_types, ("DownEncoderBlock2D",))
        yield from _unknown_kinds("up_block_types", self.up_block_types, ("UpDecoderBlock2D",))
        blocks = (self.block_out_channels, self.down_block_types, self.up_block_types)
        if any(len(field) != _VAE_BLOCKS for field in blocks):
            yield f"block_out_channels, down_block_types and up_block_types must have {_VAE_BLOCKS} entries"
        yield from _group_problems(self.block_out_channels, self.norm_num_groups)


_TextActivation = Literal[
    "quick_gelu",
    "gelu",
    "gelu_fast",
    "gelu_new",
    "gelu_python",
    "gelu_pytorch_tanh",
    "gelu_accurate",
    "relu",
    "relu6",
    "silu",
    "swish",
    "mish",
    "tanh",
    "sigmoid",
]


class TextEncoderConfig(msgspec.Struct, frozen=True, kw_only=True):
    """Fields of `text_encoder/config.json` or `text_encoder_2/config.json`."""

    vocab_size: Count = 49408
    max_position_embeddings: Annotated[int, Meta(ge=3, le=1_000_000)] = 77
    hidden_size: Count = 768
    intermediate_size: Count = 3072
    projection_dim: Count = 768
    num_hidden_layers: Count = 12
    num_attention_heads: Count = 12
    hidden_act: _TextActivation = "quick_gelu"
    layer_norm_eps: _Positive = 1e-5
    eos_token_id: int = 2
    """Token at which the pooled embedding is read; 2, in old configs, stands for the largest token of a text."""

    def problems(self) -> Iterator[str]:
        """Say what makes a network impossible."""
        if self.hidden_size % self.num_attention_heads:
            yield "num_attention_heads must divide hidden_size"


def _unknown_kinds(name: str, kinds: tuple[str, ...], served: tuple[str, ...]) -> Iterator[str]:
    unknown = next((kind for kind in kinds if kind not in served), None)
    if unknown is not None:
        yield f"{name} holds {unknown!r}; only {' and '.join(served)} are served"


def _group_problems(channels: tuple[int, ...], groups: int) -> Iterator[str]:
    if any(each % groups for each in channels):
        yield f"norm_num_groups, {groups}, must divide block_out_channels, {list(channels)}"


def _entry(value: _EachBlock, index: int) -> int:
    return value if isinstance(value, int) else value[index]


def _fits(value: _EachBlock, layers: int) -> bool:
    return isinstance(value, int) or len(value) >= layers


class SamplerConfig(msgspec.Struct, frozen=True, kw_only=True):
    """Fields of `scheduler/scheduler_config.json`."""

    prediction_type: str | None = None
    rescale_betas_zero_snr: bool | None = None
    timestep_spacing: str | None = None


_SECOND = TextEncoderConfig(
    hidden_size=1280,
    intermediate_size=5120,
    projection_dim=1280,
    num_hidden_layers=32,
    num_attention_heads=20,
    hidden_act="gelu",
)


class ComponentConfigs(msgspec.Struct, frozen=True, kw_only=True):
    """The configs of all components of a model."""

    unet: UnetConfig = UnetConfig()
    vae: VaeConfig = VaeConfig()
    text_encoder: TextEncoderConfig = TextEncoderConfig()
    text_encoder_2: TextEncoderConfig = _SECOND
    sampler: SamplerConfig = SamplerConfig()

    @property
    def widths(self) -> Widths:
        """Widths of the networks at the layers in which activations peak."""
        vae = self.vae.block_out_channels
        return Widths(
            unet=self.unet.block_out_channels[0],
            prompt=self.unet.prompt_channels,
            vae=vae[min(1, len(vae) - 1)],
        )


_T = TypeVar("_T", bound=msgspec.Struct)
_SHIPPED = ComponentConfigs()
_NOTHING: Mapping[str, Mapping[str, Any]] = {}


def read_component_configs(read: ReadConfig, lacking: Mapping[str, Mapping[str, Any]] = _NOTHING) -> ComponentConfigs:
    """Read the configs of all components; SDXL's own for those that are absent.

    Args:
        read: reads a config file by its path.
        lacking: values for keys that the config of a component lacks; SDXL's own for the others.

    Raises:
        NotServable: one of them is not as it should be.
    """
    return ComponentConfigs(
        unet=_read(read, "unet", UnetConfig, lacking) or _SHIPPED.unet,
        vae=_read(read, "vae", VaeConfig, lacking) or _SHIPPED.vae,
        text_encoder=_read(read, "text_encoder", TextEncoderConfig, lacking) or _SHIPPED.text_encoder,
        text_encoder_2=_read(read, "text_encoder_2", TextEncoderConfig, lacking) or _SHIPPED.text_encoder_2,
        sampler=_read(read, "scheduler", SamplerConfig, lacking) or _SHIPPED.sampler,
    )


def _read(read: ReadConfig, component: str, struct: type[_T], lacking: Mapping[str, Mapping[str, Any]]) -> _T | None:
    name = "scheduler/scheduler_config.json" if component == "scheduler" else f"{component}/config.json"
    content = read(name)
    if content is None:
        return None
    try:
        return msgspec.convert({**lacking.get(component, {}), **decode_config(name, content)}, struct)
    except msgspec.ValidationError as error:
        raise NotServable(f"{name} is not as it should be: {error}.") from error
