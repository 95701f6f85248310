"""Files of adapters with random factors, in the naming of each trainer, for the layers of a real network."""

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from litestar_diffusion.domain.families.reading import CheckpointFile
from litestar_diffusion.domain.families.sdxl.adapter_files.layers import layers_by_name
from litestar_diffusion.domain.families.sdxl.family import SDXL
from litestar_diffusion.domain.families.sdxl.tensors.key_tensors import ComponentName
from litestar_diffusion.domain.models.adapters import AdapterName, AdapterSpec, AdapterUse
from litestar_diffusion.infra.diffusion.load_context import Loading
from litestar_diffusion.infra.sdxl.adapters.adapters import SdxlAdapter, load_adapter
from litestar_diffusion.infra.sdxl.loading.components import SdxlModel
from litestar_diffusion.infra.sdxl.loading.key_conversion import configs_of_network
from litestar_diffusion.infra.weights.config_files import reader_beside
from litestar_diffusion.infra.weights.safetensors_header import read_header

Layers = Mapping[ComponentName, Mapping[str, tuple[int, ...]]]
"""Path and shape of layers, in diffusers' names, by component."""
Spell = Callable[[ComponentName, str, str], str]
"""Makes the key of a tensor from component, path and role."""
ATTENTION = ("to_q", "to_k", "to_v", "to_out.0", "q_proj", "k_proj", "v_proj", "out_proj")
LINEAR = (*ATTENTION, "proj_in", "proj_out", "ff.net.0.proj", "ff.net.2", "mlp.fc1", "mlp.fc2")
CONVOLUTIONS = ("conv1", "conv2", "conv_shortcut", "downsamplers.0.conv", "upsamplers.0.conv")
_KOHYA = {"unet": "lora_unet_", "text_encoder": "lora_te1_", "text_encoder_2": "lora_te2_"}
_LORA = {"down": "lora_down.weight", "up": "lora_up.weight", "mid": "lora_mid.weight", "diff_b": "diff_b"}


def layers_of(model: SdxlModel, ends: Iterable[str], components: Iterable[ComponentName]) -> Layers:
    """The layers of a model whose names end so."""
    found: dict[ComponentName, dict[str, tuple[int, ...]]] = {}
    for component in components:
        names = layers_by_name(component, configs_of_network(component, getattr(model, component)))
        places = {place.path: place.shape for entries in names.values() for place in entries}
        found[component] = {
            path: shape for path, shape in places.items() if path.endswith(tuple(f".{end}" for end in ends))
        }
    return found


def kohya(component: ComponentName, path: str, role: str) -> str:
    level = "" if component == "unet" or path == "text_projection" else "text_model_"
    return f"{_KOHYA[component]}{level}{path.replace('.', '_')}.{_LORA.get(role, role)}"


def peft(component: ComponentName, path: str, role: str) -> str:
    level = "" if component == "unet" else "text_model."
    # transformers finds no lengths without the end that PEFT's own files lack.
    lengths = "lora_magnitude_vector" if component == "unet" else "lora_magnitude_vector.weight"
    ends = {"down": "lora_A.weight", "up": "lora_B.weight", "magnitude": lengths}
    return f"{component}.{level}{path}.{ends.get(role, role)}"


def diffusers(component: ComponentName, path: str, role: str) -> str:
    if component == "unet":
        return f"unet.{path}.lora.{role}.weight"
    return f"{component}.text_model.{path}.lora_linear_layer.{role}.weight"


def lora(shape: tuple[int, ...], rank: int, draw: torch.Generator, size: float = 0.15) -> dict[str, Tensor]:
    """The factors of a LoRA; in a convolution the first has the kernel."""
    down = torch.randn(rank, *shape[1:], generator=draw) / (torch.tensor(shape[1:]).prod() ** 0.5)
    up = torch.randn(shape[0], rank, *[1] * (len(shape) - 2), generator=draw) * size
    return {"down": down, "up": up}


def tensors_of(
    layers: Layers,
    spell: Spell,
    *,
    rank: int = 4,
    alpha: float | None = None,
    seed: int = 0,
    make: Callable[..., dict[str, Tensor]] = lora,
) -> dict[str, Tensor]:
    """The tensors of a file."""
    draw = torch.Generator().manual_seed(seed)
    found: dict[str, Tensor] = {}
    for component, paths in layers.items():
        for path, shape in paths.items():
            for role, tensor in make(shape, rank, draw).items():
                found[spell(component, path, role)] = tensor.contiguous()
            if alpha is not None:
                found[spell(component, path, "alpha")] = torch.tensor(float(alpha))
    return found


def put(path: Path, tensors: Mapping[str, Tensor], **metadata: str) -> Path:
    save_file(dict(tensors), path, {key.replace("__", "."): value for key, value in metadata.items()})
    return path


def spec_of_adapter(path: Path) -> AdapterSpec:
    """The catalogue's entry of a file."""
    header = read_header(path)
    file = CheckpointFile(
        shapes=header.shapes,
        metadata=header.metadata,
        name=path.stem,
        read_config=reader_beside(path),
        odd=header.odd,
    )
    return AdapterSpec(
        name=AdapterName(path.stem),
        path=path,
        nbytes=path.stat().st_size,
        version=str(path.stat().st_mtime_ns),
        reading=SDXL.read_adapter(file),
    )


def loaded(path: Path, loading: Loading | None = None, dtype: torch.dtype = torch.float32) -> SdxlAdapter:
    def ignore(*_: Any) -> None: ...

    return load_adapter(spec_of_adapter(path), dtype, ignore, loading or Loading())


def use_of(path: Path, weight: float = 1.0, text_weight: float | None = None) -> AdapterUse:
    return AdapterUse(
        name=AdapterName(path.stem),
        version=str(path.stat().st_mtime_ns),
        weight=weight,
        text_weight=weight if text_weight is None else text_weight,
    )
