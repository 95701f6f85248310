"""What the configs of a model's components say, as far as a header can be checked against it; SDXL's own by default."""

from typing import Annotated, TypeVar

import msgspec
from msgspec import Meta

from ..reading import NotServable, ReadConfig
from .widths import Widths


class UnetConfig(msgspec.Struct, frozen=True, kw_only=True):
    """Fields of `unet/config.json`."""

    in_channels: int = 4
    out_channels: int = 4
    block_out_channels: tuple[int, ...] = (320, 640, 1280)
    down_block_types: tuple[str, ...] = ("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D")
    mid_block_type: str | None = "UNetMidBlock2DCrossAttn"
    up_block_types: tuple[str, ...] = ("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D")
    layers_per_block: int | tuple[int, ...] = 2
    transformer_layers_per_block: int | tuple[int | tuple[int, ...], ...] = (1, 2, 10)
    reverse_transformer_layers_per_block: tuple[int | tuple[int, ...], ...] | None = None
    use_linear_projection: bool = True
    addition_time_embed_dim: int | None = 256
    cross_attention_dim: int | tuple[int, ...] = 2048
    projection_class_embeddings_input_dim: int | None = 2816
    time_cond_proj_dim: int | None = None
    """Set in models that take the guidance scale as an input, as some LCM ones do."""
    sample_size: int | None = None
    """Side of the latent; an eighth of the picture's."""

    def __post_init__(self) -> None:
        """Refuse fields that are given block by block, but not for each block."""
        layers = self.transformer_layers_per_block
        counts = {len(self.block_out_channels), len(self.down_block_types), len(self.up_block_types)}
        each = (layers, self.reverse_transformer_layers_per_block, self.layers_per_block, self.cross_attention_dim)
        counts |= {len(values) for values in each if values is not None and not isinstance(values, int)}
        if len(counts) > 1 or 0 in counts:
            raise ValueError("block_out_channels, down_block_types and transformer_layers_per_block differ in length")

    def depth(self, block: int) -> int:
        """Count the transformer layers of the first attention in a block."""
        layers = self.transformer_layers_per_block
        layers = layers if isinstance(layers, int) else layers[block]
        return layers if isinstance(layers, int) else layers[0]

    @property
    def prompt_channels(self) -> int:
        """Channels of all cross-attention layers together; each block on the way up mirrors one on the way down."""
        layers = self.layers_per_block
        down, last = layers if isinstance(layers, int) else layers[0], len(self.block_out_channels) - 1
        attending = [block for block, kind in enumerate(self.down_block_types) if "CrossAttn" in kind]
        sides = sum((down + down + 1) * self.depth(block) * self.block_out_channels[block] for block in attending)
        return sides + self.depth(last) * self.block_out_channels[last]


class VaeConfig(msgspec.Struct, frozen=True, kw_only=True):
    """Fields of `vae/config.json`."""

    in_channels: int = 3
    out_channels: int = 3
    latent_channels: int = 4
    block_out_channels: Annotated[tuple[int, ...], Meta(min_length=1)] = (128, 256, 512, 512)
    layers_per_block: int = 2
    use_quant_conv: bool = True
    use_post_quant_conv: bool = True
    mid_block_add_attention: bool = True


class TextEncoderConfig(msgspec.Struct, frozen=True, kw_only=True):
    """Fields of `text_encoder/config.json` or `text_encoder_2/config.json`."""

    vocab_size: int = 49408
    max_position_embeddings: int = 77
    hidden_size: int = 768
    intermediate_size: int = 3072
    projection_dim: int = 768
    num_hidden_layers: int = 12


class SamplerConfig(msgspec.Struct, frozen=True, kw_only=True):
    """Fields of `scheduler/scheduler_config.json`."""

    prediction_type: str | None = None
    rescale_betas_zero_snr: bool | None = None


_SECOND = TextEncoderConfig(hidden_size=1280, intermediate_size=5120, projection_dim=1280, num_hidden_layers=32)


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


def read_component_configs(read: ReadConfig) -> ComponentConfigs:
    """Read the configs of all components; SDXL's own for those that are absent.

    Raises:
        NotServable: one of them is not as it should be.
    """
    return ComponentConfigs(
        unet=_read(read, "unet/config.json", UnetConfig) or _SHIPPED.unet,
        vae=_read(read, "vae/config.json", VaeConfig) or _SHIPPED.vae,
        text_encoder=_read(read, "text_encoder/config.json", TextEncoderConfig) or _SHIPPED.text_encoder,
        text_encoder_2=_read(read, "text_encoder_2/config.json", TextEncoderConfig) or _SHIPPED.text_encoder_2,
        sampler=_read(read, "scheduler/scheduler_config.json", SamplerConfig) or _SHIPPED.sampler,
    )


def _read(read: ReadConfig, name: str, struct: type[_T]) -> _T | None:
    content = read(name)
    try:
        return None if content is None else msgspec.json.decode(content, type=struct)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise NotServable(f"{name} is not as it should be: {error}.") from error
