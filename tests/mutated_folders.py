"""Mutations of a small diffusers folder, and what our server and diffusers make of the result."""

import json
import os
import random
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers.pipelines.stable_diffusion_xl.pipeline_stable_diffusion_xl import StableDiffusionXLPipeline
from safetensors.torch import load_file, save_file

from litestar_diffusion.domain.models.spec import ModelSpec
from litestar_diffusion.domain.requests.parameters import GenerationParameters, Limits
from litestar_diffusion.domain.requests.resolving.resolution import resolve
from litestar_diffusion.infra.catalogue.models.catalogue import ModelCatalogue
from litestar_diffusion.infra.device.precision import Precision
from litestar_diffusion.infra.sdxl.loading.load import load_model
from tests.catalogues import found
from tests.render import render

MODELS = Path(__file__).parents[1] / "models"
NAME = "folder"
ASKED: dict[str, Any] = {
    "prompt": "A red circle, on a blue background!",
    "seed": 7,
    "num_inference_steps": 4,
    "guidance_scale": 3.0,
    "width": 64,
    "height": 64,
}
CONFIGS = (
    "model_index.json",
    "scheduler/scheduler_config.json",
    "unet/config.json",
    "vae/config.json",
    "text_encoder/config.json",
    "text_encoder_2/config.json",
    "tokenizer/tokenizer_config.json",
    "tokenizer_2/tokenizer_config.json",
)
Picture = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Mutation:
    """One change of a folder."""

    kind: str
    file: str
    key: str = ""
    value: Any = None


def save_demo(folder: Path) -> Path:
    """Write the built-in model as the installed diffusers and transformers write it."""
    pipeline = StableDiffusionXLPipeline.from_single_file(
        str(MODELS / "demo.safetensors"), config=str(MODELS / "demo.config"), local_files_only=True
    )
    pipeline.save_pretrained(folder)
    return folder


def mutated(saved: Path, folder: Path, mutation: Mutation) -> Path:
    """Copy a folder, with links for what is not changed, and change it."""
    shutil.copytree(saved, folder, copy_function=os.link)
    apply(folder, mutation)
    return folder


def apply(folder: Path, mutation: Mutation) -> None:
    """Change a folder whose files may be links."""
    file = folder / mutation.file
    if mutation.kind == "drop file":
        file.unlink()
    elif mutation.kind.endswith("tensor"):
        tensors = load_file(file)
        file.unlink()
        save_file(_TENSORS[mutation.kind](tensors, mutation.key), file)
    else:
        config = json.loads(file.read_text())
        file.unlink()
        if mutation.kind == "drop":
            del config[mutation.key]
        else:
            config[mutation.key] = mutation.value
        file.write_text(json.dumps(config))


def _without(tensors: dict[str, torch.Tensor], key: str) -> dict[str, torch.Tensor]:
    return {name: tensor for name, tensor in tensors.items() if name != key}


def _renamed(tensors: dict[str, torch.Tensor], key: str) -> dict[str, torch.Tensor]:
    return {**_without(tensors, key), f"{key}_": tensors[key]}


def _reshaped(tensors: dict[str, torch.Tensor], key: str) -> dict[str, torch.Tensor]:
    return {**tensors, key: torch.cat([tensors[key]] * 2)}


_TENSORS: dict[str, Callable[[dict[str, torch.Tensor], str], dict[str, torch.Tensor]]] = {
    "drop tensor": _without,
    "rename tensor": _renamed,
    "reshape tensor": _reshaped,
}


def draw(saved: Path, seed: int) -> Mutation:
    """Draw a mutation; the same for a seed."""
    chance = random.Random(seed)
    kind = chance.choice(["change", "change", "change", "drop", "retype", "tensor", "drop file"])
    files = sorted(path.relative_to(saved).as_posix() for path in saved.rglob("*") if path.is_file())
    if kind == "drop file":
        return Mutation(kind, chance.choice(files))
    if kind == "tensor":
        file = chance.choice([name for name in files if name.endswith(".safetensors")])
        return Mutation(chance.choice(sorted(_TENSORS)), file, chance.choice(sorted(load_file(saved / file))))
    file = chance.choice(CONFIGS)
    config = json.loads((saved / file).read_text())
    key = chance.choice(sorted(config))
    value = chance.choice(_other_values(config[key]) if kind == "change" else _OTHER_TYPES)
    return Mutation(kind, file, key, None if kind == "drop" else value)


_OTHER_TYPES: list[Any] = ["three", 3, 0.25, None, [], {"a": 1}]


def _other_values(value: Any) -> list[Any]:
    if isinstance(value, bool):
        return [not value]
    if isinstance(value, int):
        return [value + 1, value * 2, value // 2, 0, -1]
    if isinstance(value, float):
        return [value * 1.1, value / 2, 0.0, -value]
    if isinstance(value, str):
        return [f"{value}x", value.upper(), ""]
    if isinstance(value, list) and value:
        return [value[:-1], [*value, value[-1]], value[::-1], [value[0]] * len(value)]
    return [1, "x"]


def described(folder: Path) -> ModelSpec:
    """Describe a folder named NAME as the catalogue does."""
    known = ModelCatalogue(directories=[folder.parent], overrides={}, hub=(), hub_cache=folder.parent / "hub")
    return found(known, NAME)


def ours(spec: ModelSpec, folder: Path) -> Picture:
    """Make a picture of a usable folder: height x width x 3, 0 to 255."""
    model = load_model(spec, folder, Precision.of(torch.float32), lambda _: None)
    asked = resolve(GenerationParameters(**ASKED), spec, Limits(), random_seed=0).request
    image = render(model, asked, lambda *_: None).images[0]
    return np.frombuffer(image.pixels, np.uint8).reshape(image.height, image.width, 3).astype(float)


def theirs(folder: Path) -> Picture:
    """Make the same with diffusers; raises whatever diffusers raises."""
    pipeline: Any = StableDiffusionXLPipeline.from_pretrained(folder, local_files_only=True)
    pipeline.set_progress_bar_config(disable=True)
    generator = torch.Generator().manual_seed(ASKED["seed"])
    asked = {key: value for key, value in ASKED.items() if key != "seed"}
    return pipeline(**asked, generator=generator, output_type="np").images[0] * 255
