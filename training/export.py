"""Writes a trained model as one file in SDXL's original key layout: the inverse of diffusers' conversion."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from safetensors.torch import save_file
from torch import Tensor, nn

from .networks import UNET, Denoiser
from .vae import CONFIG as VAE

_UNET_TOP = {
    "conv_in": "input_blocks.0.0",
    "time_embedding.linear_1": "time_embed.0",
    "time_embedding.linear_2": "time_embed.2",
    "add_embedding.linear_1": "label_emb.0.0",
    "add_embedding.linear_2": "label_emb.0.2",
    "conv_norm_out": "out.0",
    "conv_out": "out.2",
    "mid_block.resnets.0": "middle_block.0",
    "mid_block.attentions.0": "middle_block.1",
    "mid_block.resnets.1": "middle_block.2",
}
_UNET_RESNET = {
    "norm1": "in_layers.0",
    "conv1": "in_layers.2",
    "time_emb_proj": "emb_layers.1",
    "norm2": "out_layers.0",
    "conv2": "out_layers.3",
    "conv_shortcut": "skip_connection",
}
_CLIP_LAYER = {
    "layer_norm1": "ln_1",
    "layer_norm2": "ln_2",
    "mlp.fc1": "mlp.c_fc",
    "mlp.fc2": "mlp.c_proj",
    "self_attn.out_proj": "attn.out_proj",
}
_CLIP_TOP = {
    "text_model.embeddings.token_embedding.weight": "token_embedding.weight",
    "text_model.embeddings.position_embedding.weight": "positional_embedding",
    "text_model.final_layer_norm.weight": "ln_final.weight",
    "text_model.final_layer_norm.bias": "ln_final.bias",
}
_SAMPLER_CONFIG: dict[str, Any] = {
    "_class_name": "EulerDiscreteScheduler",
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "num_train_timesteps": 1000,
    "prediction_type": "epsilon",
    "interpolation_type": "linear",
    "timestep_spacing": "leading",
    "steps_offset": 1,
    "use_karras_sigmas": False,
}


def export_checkpoint(
    path: Path, model: Denoiser, vae: AutoencoderKL, metadata: Mapping[str, str], markers: tuple[str, ...] = ()
) -> None:
    """Write one fp16 `.safetensors` file.

    Args:
        path: the file.
        model: UNet and text encoders.
        vae: the autoencoder.
        metadata: the header's `__metadata__`.
        markers: keys of a single zero, such as `v_pred` that tell loaders what kind of model this is.
    """
    tensors = dict(original_tensors(model.unet, vae, model.text_encoder, model.text_encoder_2))
    tensors.update({marker: torch.zeros(1) for marker in markers})
    save_file({key: t.half().contiguous().clone() for key, t in tensors.items()}, path, {"format": "pt", **metadata})
    path.chmod(0o644)


def export_configs(folder: Path, model: Denoiser) -> None:
    """Write the diffusers configs that fit the networks; the tokenizers are written before training."""
    _write(folder / "unet", "config.json", {"_class_name": "UNet2DConditionModel", **UNET})
    _write(folder / "vae", "config.json", {"_class_name": "AutoencoderKL", **VAE})
    for name in ("text_encoder", "text_encoder_2"):
        config = getattr(model, name).config.to_diff_dict()
        architecture = "CLIPTextModel" if name == "text_encoder" else "CLIPTextModelWithProjection"
        _write(folder / name, "config.json", {**config, "architectures": [architecture]})
    _write(folder / "scheduler", "scheduler_config.json", _SAMPLER_CONFIG)
    index = {
        "_class_name": "StableDiffusionXLPipeline",
        "force_zeros_for_empty_prompt": True,
        "unet": ["diffusers", "UNet2DConditionModel"],
        "vae": ["diffusers", "AutoencoderKL"],
        "text_encoder": ["transformers", "CLIPTextModel"],
        "text_encoder_2": ["transformers", "CLIPTextModelWithProjection"],
        "tokenizer": ["transformers", "CLIPTokenizer"],
        "tokenizer_2": ["transformers", "CLIPTokenizer"],
        "scheduler": ["diffusers", "EulerDiscreteScheduler"],
    }
    _write(folder, "model_index.json", index)


def _write(folder: Path, name: str, content: Mapping[str, Any]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def original_tensors(
    unet: Any, vae: Any, text_encoder: nn.Module, text_encoder_2: nn.Module
) -> Iterator[tuple[str, Tensor]]:
    """Return every weight of four diffusers networks by its name in SDXL's original layout; any size, also on the meta device."""
    for key, tensor in unet.state_dict().items():
        yield f"model.diffusion_model.{_unet_key(key, unet.config)}", tensor
    for key, tensor in vae.state_dict().items():
        new = _vae_key(key, len(vae.config.block_out_channels))
        linear_as_conv = ".attn_1." in new and tensor.ndim == 2
        yield f"first_stage_model.{new}", tensor[:, :, None, None] if linear_as_conv else tensor
    for key, tensor in text_encoder.state_dict().items():
        yield f"conditioner.embedders.0.transformer.text_model.{key.removeprefix('text_model.')}", tensor
    for key, tensor in _open_clip(text_encoder_2.state_dict()):
        yield f"conditioner.embedders.1.model.{key}", tensor


def _unet_key(key: str, config: Any) -> str:
    for new, old in _UNET_TOP.items():
        if key.startswith(f"{new}."):
            renamed = old + key.removeprefix(new)
            return _renamed_resnet(renamed) if ".resnets." in new else renamed
    layers, (side, index, kind, number, *rest) = config.layers_per_block, key.split(".")
    block, layer = int(index), int(number)
    if side == "down_blocks":
        position = 1 + block * (layers + 1) + (layers if kind == "downsamplers" else layer)
        inner = "1" if kind == "attentions" else "0"
        prefix = f"input_blocks.{position}.{inner}"
    else:
        position = block * (layers + 1) + (layers if kind == "upsamplers" else layer)
        has_attention = "CrossAttn" in config.up_block_types[block]
        inner = {"resnets": "0", "attentions": "1", "upsamplers": "2" if has_attention else "1"}[kind]
        prefix = f"output_blocks.{position}.{inner}"
    tail = ".".join(rest)
    if kind == "downsamplers":
        tail = tail.replace("conv.", "op.")
    return _renamed_resnet(f"{prefix}.{tail}") if kind == "resnets" else f"{prefix}.{tail}"


def _renamed_resnet(key: str) -> str:
    *head, part, leaf = key.split(".")
    return ".".join([*head, _UNET_RESNET.get(part, part), leaf])


def _vae_key(key: str, levels: int) -> str:
    parts = key.split(".")
    if parts[1:2] == ["conv_norm_out"]:
        parts[1] = "norm_out"
    elif parts[1:2] == ["mid_block"]:
        parts[1:4] = ["mid", f"block_{int(parts[3]) + 1}" if parts[2] == "resnets" else "attn_1"]
    elif parts[1:2] == ["down_blocks"]:
        parts[1:5] = _vae_level("down", int(parts[2]), parts[3:5])
    elif parts[1:2] == ["up_blocks"]:
        parts[1:5] = _vae_level("up", levels - 1 - int(parts[2]), parts[3:5])
    renames = {"conv_shortcut": "nin_shortcut", "group_norm": "norm", "to_q": "q", "to_k": "k", "to_v": "v"}
    return ".".join(renames.get(part, part) for part in parts).replace("to_out.0", "proj_out")


def _vae_level(side: str, level: int, kind: list[str]) -> list[str]:
    if kind[0] == "resnets":
        return [side, str(level), "block", kind[1]]
    return [side, str(level), "downsample" if side == "down" else "upsample"]


def _open_clip(state: Mapping[str, Tensor]) -> Iterator[tuple[str, Tensor]]:
    for key, tensor in state.items():
        if key in _CLIP_TOP:
            yield _CLIP_TOP[key], tensor
        elif key == "text_projection.weight":
            yield "text_projection", tensor.T
        elif ".layers." in key and not any(f".{p}_proj." in key for p in "qkv"):
            number, tail = key.split(".layers.")[1].split(".", 1)
            module, leaf = tail.rsplit(".", 1)
            yield f"transformer.resblocks.{number}.{_CLIP_LAYER[module]}.{leaf}", tensor
    for number in sorted({key.split(".layers.")[1].split(".")[0] for key in state if ".layers." in key}):
        for leaf in ("weight", "bias"):
            stacked = [state[f"text_model.encoder.layers.{number}.self_attn.{p}_proj.{leaf}"] for p in "qkv"]
            yield f"transformer.resblocks.{number}.attn.in_proj_{leaf}", torch.cat(stacked)
