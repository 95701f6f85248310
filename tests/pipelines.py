"""Small pipelines in the diffusers layout: one of configs and weights that take no room on disk, one that makes pictures."""

import json
import shutil
from pathlib import Path
from typing import Any

from litestar_diffusion.domain.families.sdxl.config_values import DEFAULTS
from litestar_diffusion.domain.families.sdxl.configs import read_component_configs
from litestar_diffusion.domain.families.sdxl.tensors.key_tensors import COMPONENTS, ComponentName, network_tensors
from tests.headers import Shapes, sparse_file

_MODELS = Path(__file__).parents[1] / "models"
_TEXT = {
    "vocab_size": 49408,
    "max_position_embeddings": 77,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "eos_token_id": 2,
}
_CONFIGS: dict[str, dict[str, Any]] = {
    "unet": {
        "block_out_channels": [32, 64],
        "down_block_types": ["DownBlock2D", "CrossAttnDownBlock2D"],
        "up_block_types": ["CrossAttnUpBlock2D", "UpBlock2D"],
        "layers_per_block": 1,
        "transformer_layers_per_block": 1,
        "attention_head_dim": 2,
        "cross_attention_dim": 160,
        "use_linear_projection": True,
        "addition_embed_type": "text_time",
        "addition_time_embed_dim": 32,
        "projection_class_embeddings_input_dim": 288,
        "sample_size": 16,
    },
    "vae": {
        "block_out_channels": [32, 32, 32, 32],
        "down_block_types": ["DownEncoderBlock2D"] * 4,
        "up_block_types": ["UpDecoderBlock2D"] * 4,
    },
    "text_encoder": {**_TEXT, "hidden_size": 64, "intermediate_size": 256, "projection_dim": 64},
    "text_encoder_2": {**_TEXT, "hidden_size": 96, "intermediate_size": 384, "projection_dim": 96},
}
_CLASSES = {
    "unet": ["diffusers", "UNet2DConditionModel"],
    "vae": ["diffusers", "AutoencoderKL"],
    "text_encoder": ["transformers", "CLIPTextModel"],
    "text_encoder_2": ["transformers", "CLIPTextModelWithProjection"],
}


def _weights(component: ComponentName) -> Shapes:
    """List the tensors of a component, in the first text encoder as transformers 4 names them."""
    contents = {f"{name}/config.json": json.dumps(config).encode() for name, config in _CONFIGS.items()}
    configs = read_component_configs(contents.get, DEFAULTS)
    level = "text_model." if component == "text_encoder" else ""
    return {f"{level}{tensor.diffusers}": tensor.shape for tensor in network_tensors(component, configs)}


WEIGHTS: dict[str, Shapes] = {component: _weights(component) for component in COMPONENTS}
"""Every tensor of each component."""


def put_pipeline(path: Path, variant: str = "") -> Path:
    """Write the folder; `variant` is a tag such as `.fp16`."""
    for component, config in _CONFIGS.items():
        (path / component).mkdir(parents=True)
        (path / component / "config.json").write_text(json.dumps(config))
        stem = "diffusion_pytorch_model" if component in ("unet", "vae") else "model"
        sparse_file(path / component / f"{stem}{variant}.safetensors", WEIGHTS[component])
    (path / "scheduler").mkdir()
    (path / "scheduler" / "scheduler_config.json").write_text('{"prediction_type": "epsilon"}')
    (path / "model_index.json").write_text(json.dumps({"_class_name": "StableDiffusionXLPipeline", **_CLASSES}))
    return path


def put_demo_pipeline(path: Path) -> Path:
    """Write the built-in model as such a folder."""
    from safetensors.torch import load_file, save_file  # here, because most tests of folders need no torch

    from litestar_diffusion.infra.sdxl.loading.components import build_network
    from litestar_diffusion.infra.sdxl.loading.key_conversion import component_weights

    shutil.copytree(_MODELS / "demo.config", path)
    original = load_file(_MODELS / "demo.safetensors")
    for component in COMPONENTS:
        tensors = component_weights(original, component, build_network(component, path))
        stem = "diffusion_pytorch_model" if component in ("unet", "vae") else "model"
        file = path / component / f"{stem}.safetensors"
        save_file({key: tensor.clone().contiguous() for key, tensor in tensors.items()}, file)
    return path
