"""The four networks of an SDXL model, built from configs without allocating a weight."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from torch import nn
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer

from ...domain.families.sdxl.key_tensors import ComponentName
from ...domain.families.sdxl.preview_factors import SDXL_PREVIEW
from ...domain.models.components import Component
from ...domain.models.spec import ModelTraits, PreviewFactors
from ..diffusion.fast_layers.patches import patch_layers
from ..diffusion.fast_layers.upcasting import Upcaster
from ..diffusion.prompt_cache import PromptCache
from ..diffusion.skip_torch_functions import INITIALIZERS, Skipping

TEXT_ENCODERS: tuple[ComponentName, ComponentName] = ("text_encoder", "text_encoder_2")
SHIPPED_CONFIGS = Path(__file__).parent / "configs"
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
    preview: PreviewFactors = SDXL_PREVIEW
    """Map from latents to preview colours."""


def read_config(folder: Path, name: str) -> dict[str, Any]:
    """Read a JSON file of `folder`, or the shipped one if the folder has none."""
    file = folder / name
    return json.loads((file if file.is_file() else SHIPPED_CONFIGS / name).read_text(encoding="utf-8"))


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
        network = _NETWORKS[component]({**read_config(configs, f"{component}/config.json"), **variant})
    # Adapters that put layers of their own into a network belong here, before its layers are patched.
    patch_layers(network, upcaster)
    return network


_NETWORKS: dict[ComponentName, Callable[[dict[str, Any]], Any]] = {
    "unet": UNet2DConditionModel.from_config,
    "vae": AutoencoderKL.from_config,
    "text_encoder": lambda config: CLIPTextModel(CLIPTextConfig.from_dict(config)),
    "text_encoder_2": lambda config: CLIPTextModelWithProjection(CLIPTextConfig.from_dict(config)),
}


def load_tokenizer(configs: Path, name: str) -> CLIPTokenizer:
    """Load `tokenizer` or `tokenizer_2` of a folder; missing files come from the shipped configs. Opens no socket.

    SDXL's two tokenizers share one vocabulary and differ in the token that they pad with.
    """
    vocabulary = next(
        folder
        for folder in (configs / name, configs / "tokenizer", SHIPPED_CONFIGS / "tokenizer")
        if (folder / "vocab.json").is_file()
    )
    options = read_config(configs, f"{name}/tokenizer_config.json")
    return CLIPTokenizer.from_pretrained(
        vocabulary,
        local_files_only=True,
        pad_token=_token(options["pad_token"]),
        model_max_length=options.get("model_max_length", 77),
    )


def _token(declared: str | Mapping[str, Any]) -> str:
    return declared if isinstance(declared, str) else str(declared["content"])
