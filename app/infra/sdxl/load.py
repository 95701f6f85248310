"""Loads a model from disk into host memory: the networks in their dtype and layout, no socket opened."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import msgspec
import torch
from torch import Tensor, nn

from ...domain.errors import UnusableModel
from ...domain.model import Checkpoint, Folder, HubRepository, ModelSpec, ModelTraits
from ...domain.ports import LoadProgress, OnLoad
from .checkpoint import StateDict, open_checkpoint
from .components import COMPONENT_NAMES, SHIPPED_CONFIGS, SdxlModel, build_network, load_tokenizer, read_config
from .folder import open_folder

_MAX_NAMED_TENSORS = 3


def load_model(spec: ModelSpec, files: Path, dtype: torch.dtype, on_load: OnLoad) -> SdxlModel:
    """Read a model. Blocks for as long as the disk takes; call it from a loader thread.

    Args:
        spec: the catalogue entry.
        files: the checkpoint file, or the diffusers folder (of a repository: its local snapshot).
        dtype: of all weights; the file's own are cast on the way.
        on_load: hears of each component.

    Raises:
        UnusableModel: tensors are missing or have the wrong shape.
    """
    configs = _configs_of(spec, files)
    networks: dict[str, Any] = {}
    with _open(spec, files) as weights:
        for index, component in enumerate(COMPONENT_NAMES):
            total = spec.nbytes or 0
            on_load(LoadProgress(phase="read", done_nbytes=total * index // len(COMPONENT_NAMES), total_nbytes=total))
            network = build_network(component, configs)
            _fill(spec, component, network, weights(component, network), dtype)
            networks[component] = _finished(network)
    sampler_config = read_config(configs, "scheduler/scheduler_config.json")
    return SdxlModel(
        **networks,
        tokenizer=load_tokenizer(configs, "tokenizer"),
        tokenizer_2=load_tokenizer(configs, "tokenizer_2"),
        sampler_config=sampler_config,
        zero_empty_negative=bool(read_config(configs, "model_index.json").get("force_zeros_for_empty_prompt", True)),
        traits=_traits(spec, sampler_config),
        dtype=dtype,
        nbytes=sum(parameter.nbytes for network in networks.values() for parameter in network.parameters()),
    )


def _configs_of(spec: ModelSpec, files: Path) -> Path:
    if isinstance(spec.source, Checkpoint):
        return spec.source.config or SHIPPED_CONFIGS
    return files


def _open(spec: ModelSpec, files: Path) -> AbstractContextManager[Callable[[str, nn.Module], StateDict]]:
    match spec.source:
        case Checkpoint():
            return open_checkpoint(files)
        case HubRepository(variant=variant):
            return open_folder(files, variant)
        case Folder():
            return open_folder(files, None)


def _traits(spec: ModelSpec, sampler_config: dict[str, Any]) -> ModelTraits:
    """A folder's own sampler config knows better than a guess from the repository's name; a person knows best."""
    if isinstance(spec.source, Checkpoint):
        return spec.traits
    stated = spec.overrides
    found: dict[str, Any] = {}
    if stated.prediction_type is None and "prediction_type" in sampler_config:
        found["prediction_type"] = sampler_config["prediction_type"]
    if stated.zero_snr is None and "rescale_betas_zero_snr" in sampler_config:
        found["zero_snr"] = bool(sampler_config["rescale_betas_zero_snr"])
    return msgspec.structs.replace(spec.traits, **found)


def _fill(spec: ModelSpec, component: str, network: nn.Module, weights: StateDict, dtype: torch.dtype) -> None:
    """Give a network its weights, as copies that outlive the mapped file."""
    expected = network.state_dict()
    aligned = {key: weights[name] for key in expected if (name := _source_name(key, weights)) is not None}
    problems = [f"{key} is missing" for key in expected if key not in aligned]
    problems += [
        f"{key} has shape {list(aligned[key].shape)} where {list(wanted.shape)} is needed"
        for key, wanted in expected.items()
        if key in aligned and aligned[key].shape != wanted.shape
    ]
    if problems:
        raise UnusableModel(spec.name, _told(component, problems))
    network.load_state_dict({key: _owned(tensor, dtype) for key, tensor in aligned.items()}, assign=True)


def _source_name(key: str, weights: StateDict) -> str | None:
    """Transformers 5 dropped the `text_model.` level of CLIPTextModel; files keep it."""
    return next((name for name in (key, f"text_model.{key}") if name in weights), None)


def _owned(tensor: Tensor, dtype: torch.dtype) -> Tensor:
    tensor = tensor.to(dtype=dtype, copy=True)
    return tensor.contiguous(memory_format=torch.channels_last) if tensor.ndim == 4 else tensor.contiguous()


def _told(component: str, problems: list[str]) -> str:
    shown = "; ".join(problems[:_MAX_NAMED_TENSORS])
    more = f"; and {len(problems) - _MAX_NAMED_TENSORS} more" if len(problems) > _MAX_NAMED_TENSORS else ""
    return (
        f"its {component} does not fit the SDXL configs: {shown}{more}. If it is a variant of SDXL with other sizes, "
        "put its diffusers configs into a folder <name>.config beside the file."
    )


def _finished(network: nn.Module) -> nn.Module:
    """Fill the buffers that no file holds, and forbid training."""
    for module in network.modules():
        for name, buffer in module.named_buffers(recurse=False):
            if buffer.is_meta:
                setattr(module, name, _rebuilt(name, buffer))
    return network.eval().requires_grad_(False)


def _rebuilt(name: str, buffer: Tensor) -> Tensor:
    if name != "position_ids":
        raise ValueError(f"a buffer {name!r} is neither in the file nor known")
    return torch.arange(buffer.shape[-1]).expand(buffer.shape).clone()
