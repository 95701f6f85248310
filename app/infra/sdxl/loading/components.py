"""The four networks of an SDXL model, built from configs without allocating a weight."""

from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from weakref import WeakValueDictionary

import msgspec
import torch
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from tokenizers import AddedToken
from torch import nn
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer

from ....domain.families.json_config import decode_config
from ....domain.families.sdxl.config_values import SERVED_VALUES
from ....domain.families.sdxl.configs import INPAINTING_CHANNELS, TextEncoderConfig, UnetConfig, VaeConfig
from ....domain.families.sdxl.preview_factors import SDXL_PREVIEW
from ....domain.families.sdxl.tensors.key_tensors import ComponentName
from ....domain.families.sdxl.tokenizer_files import read_options, read_vocabulary
from ....domain.families.stated_sampler import scheduler_class
from ....domain.models.components import Component
from ....domain.models.spec import ModelTraits, PreviewFactors
from ...diffusion.encoded_pictures import EncodedPictures
from ...diffusion.fast_layers.patches import patch_layers
from ...diffusion.fast_layers.upcasting import Upcaster
from ...diffusion.prompt_cache import PromptCache
from ...diffusion.samplers import with_class_defaults
from ...diffusion.skip_torch_functions import INITIALIZERS, Skipping
from ...weights.config_files import folder_reader
from ..embeddings import EmbeddingVectors

TEXT_ENCODERS: tuple[ComponentName, ComponentName] = ("text_encoder", "text_encoder_2")
SHIPPED_CONFIGS = Path(__file__).parents[1] / "configs"
"""SDXL base 1.0's component configs and CLIP's tokenizer files, in the diffusers folder layout."""
_AS_CONFIGURED: Mapping[str, Any] = {}


@dataclass(slots=True, kw_only=True)
class SdxlModel:
    """A model in memory: its networks, its tokenizers, and the config that samplers are derived from."""

    unet: UNet2DConditionModel
    vae: AutoencoderKL
    text_encoder: CLIPTextModel
    text_encoder_2: CLIPTextModelWithProjection
    tokenizer: CLIPTokenizer
    tokenizer_2: CLIPTokenizer
    sampler_config: Mapping[str, Any]
    zero_empty_negative: bool
    """Whether an empty negative prompt stands for zeroed embeddings rather than for the encoded empty text."""
    traits: ModelTraits
    dtype: torch.dtype
    """Dtype that it computes in; its weights may be kept in another."""
    components: tuple[Component, ...]
    """Components in the order of COMPONENTS."""
    prompts: PromptCache = field(default_factory=PromptCache)
    """Cache of encoded prompts."""
    pictures: EncodedPictures = field(default_factory=EncodedPictures)
    """Pictures that requests began from, encoded."""
    adapted: WeakValueDictionary[Hashable, Any] = field(default_factory=WeakValueDictionary[Hashable, Any])
    """Changes by the adapters of the requests that run."""
    embeddings: EmbeddingVectors = field(default_factory=EmbeddingVectors)
    """Vectors of the textual inversion embeddings that were used last."""
    preview: PreviewFactors = SDXL_PREVIEW
    """Map from latents to preview colours."""

    @property
    def is_for_inpainting(self) -> bool:
        """Whether its UNet sees a mask and the picture around it beside the latents."""
        return self.unet.conv_in.in_channels == INPAINTING_CHANNELS


def read_config(folder: Path, name: str) -> dict[str, Any]:
    """Read a JSON file of `folder`, or the shipped one if the folder has none."""
    file = folder / name
    return decode_config(name, (file if file.is_file() else SHIPPED_CONFIGS / name).read_bytes())


def read_sampler_config(folder: Path) -> dict[str, Any]:
    """Read the config that samplers are derived from; keys that it lacks have the values of its scheduler's class.

    `_class_name` is the class that diffusers would load.
    """
    stated = read_config(folder, "scheduler/scheduler_config.json")
    scheduler = scheduler_class(stated, read_config(folder, "model_index.json").get("scheduler"))
    return with_class_defaults(scheduler, stated)


def build_network(
    component: ComponentName,
    configs: Path,
    upcaster: Upcaster | None = None,
    variant: Mapping[str, Any] = _AS_CONFIGURED,
) -> nn.Module:
    """Build a network with its weights on the meta device: no memory, 0.2 s for the largest.

    Args:
        component: one of COMPONENTS.
        configs: the folder of the component configs.
        upcaster: converts the weights if they are kept in fewer bits than they are computed in.
        variant: fields that replace those of the config.
    """
    # `torch.device("meta")` is thread-local; accelerate's `init_empty_weights` patches `nn.Module` for all threads.
    with torch.device("meta"), Skipping(INITIALIZERS):
        network = _NETWORKS[component]({**_network_config(configs, component), **variant})
    patch_layers(network, upcaster)
    return network


def _network_config(configs: Path, component: ComponentName) -> dict[str, Any]:
    """Read the keys that the catalogue has checked: others change no picture, or the model is refused for them."""
    config = read_config(configs, f"{component}/config.json")
    known = {*_STRUCTS[component].__struct_fields__, *SERVED_VALUES[component]} - {"quantization_config"}
    return {key: value for key, value in config.items() if key in known}


_STRUCTS: dict[ComponentName, type[msgspec.Struct]] = {
    "unet": UnetConfig,
    "vae": VaeConfig,
    "text_encoder": TextEncoderConfig,
    "text_encoder_2": TextEncoderConfig,
}
_NETWORKS: dict[ComponentName, Callable[[dict[str, Any]], Any]] = {
    "unet": UNet2DConditionModel.from_config,
    "vae": AutoencoderKL.from_config,
    "text_encoder": lambda config: CLIPTextModel(CLIPTextConfig.from_dict(config)),
    "text_encoder_2": lambda config: CLIPTextModelWithProjection(CLIPTextConfig.from_dict(config)),
}


def load_tokenizer(configs: Path, name: str) -> CLIPTokenizer:
    """Load `tokenizer` or `tokenizer_2` of a folder; missing files come from the shipped configs. Opens no socket.

    SDXL's two tokenizers share one vocabulary and differ in the token that they pad with.

    Raises:
        NotServable: a file is not as it should be.
    """
    own, shipped = folder_reader(configs), folder_reader(SHIPPED_CONFIGS)
    choices = ((own, name), (own, "tokenizer"), (shipped, "tokenizer"))
    vocabulary = next(found for read, folder in choices if (found := read_vocabulary(read, folder)) is not None)
    options = read_options(own, name)
    added = vocabulary.added if options.added is None else options.added
    merges: Any = list(vocabulary.merges)  # annotated as the name of a file alone
    return CLIPTokenizer(
        vocab=dict(vocabulary.ids),
        merges=merges,
        **options.special,
        added_tokens_decoder={number: AddedToken(**msgspec.structs.asdict(token)) for number, token in added.items()},
        model_max_length=options.max_tokens,
    )
