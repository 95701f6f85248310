"""What a model is, from headers and configs alone: names, shapes, metadata. No tensor is read."""

import math
import re
from collections.abc import Mapping

from ...models.spec import ModelKind, ModelTraits
from ..distillation import FewStepReading, is_original_turbo, read_few_step
from ..latents import LATENT_SCALE
from ..reading import NotServable, Reading, Shapes
from .configs import INPAINTING_CHANNELS, ComponentConfigs
from .noise import read_noise
from .tensors.key_tensors import PREFIXES, checkpoint_problems, join_problems
from .unsupported import sdxl_relative, unsupported_variant

NAME = "sdxl"
_SIZE_PX = 1024
_TURBO_SIZE_PX = 512
_SIZE_STEP_PX = 64
_NO_ODD: Mapping[str, str] = {}
_PIPELINE = "StableDiffusionXL"
"""Prefix of the class names of SDXL's pipelines."""
_EDITING_CHANNELS = 8
_TEXT_ENCODERS = "conditioner.embedders."
_SIZE_INPUTS = (
    "model.diffusion_model.label_emb.0.0.weight",
    *(f"{prefix}add_embedding.linear_1.weight" for prefix in PREFIXES["unet"]),
)
"""First layer of the UNet's input for sizes, in each layout."""


def is_sdxl(shapes: Shapes) -> bool:
    """Tell whether a file holds SDXL's text encoders, or its UNet's input for sizes, and so is SDXL or a part of it."""
    return any(key in shapes for key in _SIZE_INPUTS) or any(key.startswith(_TEXT_ENCODERS) for key in shapes)


def read_header(
    shapes: Shapes,
    metadata: Mapping[str, str],
    name: str,
    configs: ComponentConfigs,
    odd: Mapping[str, str] = _NO_ODD,
) -> Reading:
    """Read the traits of a single-file checkpoint.

    Args:
        shapes: every tensor of the header.
        metadata: the header's `__metadata__`.
        name: the file's name without suffix; the weakest evidence.
        configs: what the component configs promise, the shipped ones or those beside the file.
        odd: dtypes of the tensors that hold no floating-point numbers.

    Raises:
        NotServable: it is not an SDXL base model, or parts of it are missing or have the wrong size.
    """
    _refuse_unfit(shapes, configs, odd)
    kind = f"{_title(configs)}: the file holds UNet, VAE and both text encoders, in the sizes of their configs"
    return _reading(kind, shapes, metadata, read_few_step(metadata, name), configs, name)


def read_pipeline(pipeline: str, configs: ComponentConfigs, *names: str) -> Reading:
    """Read the traits of a pipeline.

    Args:
        pipeline: class that its `model_index.json` names.
        configs: of its components.
        names: what it is called, most telling first.

    Raises:
        NotServable: it is not an SDXL text-to-image pipeline.
    """
    _refuse_other_pipelines(pipeline, configs)
    kind = f"{_title(configs)}: model_index.json describes a {pipeline}"
    return _reading(kind, {}, {}, _few_step_of_names(names), configs, " ".join(names))


def read_names(*names: str) -> Reading:
    """Guess the traits of a repository that has not been downloaded yet from its names."""
    guessed = "SDXL base, by assumption: it has not been downloaded yet, so only its name is known"
    return _reading(guessed, {}, {}, _few_step_of_names(names), ComponentConfigs(), " ".join(names))


def _refuse_unfit(shapes: Shapes, configs: ComponentConfigs, odd: Mapping[str, str]) -> None:
    unsupported = unsupported_variant(shapes)
    if unsupported is not None:
        raise NotServable(unsupported)
    problems = checkpoint_problems(shapes, configs, odd)
    if not problems:
        return
    what = sdxl_relative(shapes)
    if what is not None:
        raise NotServable(what)
    if any("lacks" in problem for problem in problems):
        raise NotServable(
            f"{join_problems(problems)}. Use a full SDXL checkpoint, with UNet, VAE and both text encoders."
        )
    if any("has dtype" in problem for problem in problems):
        raise NotServable(
            f"{join_problems(problems)}. It is quantised in a way that is not served. Use its fp16 version."
        )
    raise NotServable(
        f"{join_problems(problems)}. If it is a variant of SDXL with other sizes, put its diffusers configs into a folder "
        "<name>.config beside the file."
    )


def _refuse_other_pipelines(pipeline: str, configs: ComponentConfigs) -> None:
    if "Refiner" in pipeline or not pipeline.startswith(_PIPELINE):
        raise NotServable(f"its model_index.json describes a {pipeline}; only StableDiffusionXLPipeline is served.")
    if configs.unet.in_channels == _EDITING_CHANNELS:
        raise NotServable(
            f"its UNet takes {_EDITING_CHANNELS} channels, as models for editing by instructions do; that is not served."
        )
    if configs.unet.time_cond_proj_dim is not None:
        raise NotServable("its UNet takes the guidance scale as an input (an LCM model); that is not served.")


def _reading(
    kind: str,
    shapes: Shapes,
    metadata: Mapping[str, str],
    few_step: FewStepReading,
    configs: ComponentConfigs,
    name: str,
) -> Reading:
    noise = read_noise(shapes, metadata, configs.sampler, name)
    size_px, how_size = _size_px(metadata, few_step, configs)
    traits = ModelTraits(
        family=NAME,
        kind=_kind(configs),
        prediction_type=noise.prediction_type,
        zero_snr=noise.zero_snr,
        few_step=few_step.few_step,
        size_px=size_px,
    )
    evidence = (kind, *noise.evidence, few_step.evidence, how_size, *(doubt.text for doubt in noise.doubts))
    return Reading(traits=traits, evidence=evidence, doubts=noise.doubts, networks=configs.widths)


def _kind(configs: ComponentConfigs) -> ModelKind:
    return "inpainting" if configs.unet.in_channels == INPAINTING_CHANNELS else "base"


def _title(configs: ComponentConfigs) -> str:
    return f"SDXL {_kind(configs)}"


def _size_px(metadata: Mapping[str, str], few_step: FewStepReading, configs: ComponentConfigs) -> tuple[int, str]:
    if isinstance(configs.unet.sample_size, int):
        size_px = configs.unet.sample_size * LATENT_SCALE
        return size_px, f"{size_px} pixels: its unet/config.json says so"
    resolution = re.fullmatch(r"(\d{2,5})x(\d{2,5})", metadata.get("modelspec.resolution", ""))
    if resolution is not None:
        side = math.sqrt(int(resolution[1]) * int(resolution[2]))
        size_px = max(round(side / _SIZE_STEP_PX), 1) * _SIZE_STEP_PX
        return size_px, f"{size_px} pixels: modelspec.resolution is {resolution[0]}"
    if is_original_turbo(few_step.words):
        return _TURBO_SIZE_PX, f"{_TURBO_SIZE_PX} pixels, as SDXL-Turbo itself"
    return _SIZE_PX, f"{_SIZE_PX} pixels, as SDXL"


def _few_step_of_names(names: tuple[str, ...]) -> FewStepReading:
    readings = [read_few_step({}, name) for name in names]
    return next((reading for reading in readings if reading.few_step is not None), readings[0])
