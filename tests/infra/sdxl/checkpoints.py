"""Variants of the built-in checkpoint: its tensors changed, saved beside a sidecar, loaded as the server does."""

from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from litestar_diffusion.domain.models.spec import ModelOverrides, ModelSpec
from litestar_diffusion.infra.catalogue.models.local_models import describe
from litestar_diffusion.infra.catalogue.scan import candidate_of
from litestar_diffusion.infra.device.precision import Precision
from litestar_diffusion.infra.sdxl.loading.components import SdxlModel
from litestar_diffusion.infra.sdxl.loading.load import load_model

MODELS = Path(__file__).parents[3] / "models"
CONFIG = MODELS / "demo.config"
Tensors = dict[str, Tensor]


def demo_tensors() -> Tensors:
    """The tensors of the built-in model."""
    return load_file(MODELS / "demo.safetensors")


def save(path: Path, tensors: Tensors, metadata: dict[str, str] | None = None) -> Path:
    """Write a checkpoint whose component configs are the built-in model's."""
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, path, metadata)
    config = path.with_suffix(".config")
    if not config.exists():
        config.symlink_to(CONFIG)
    return path


def described(path: Path) -> ModelSpec:
    """The catalogue's entry of a file."""
    return describe(candidate_of(path), ModelOverrides()).spec


def loaded(spec: ModelSpec, path: Path) -> SdxlModel:
    """The model as the engine loads it, in float32."""
    return load_model(spec, path, Precision.of(torch.float32), lambda _: None)
