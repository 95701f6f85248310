"""Scores a checkpoint: diffusers' own pipeline makes pictures of held-out captions, and `reading` recognises what they show."""

import tomllib
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from diffusers.pipelines.stable_diffusion_xl.pipeline_stable_diffusion_xl import StableDiffusionXLPipeline
from diffusers.schedulers.scheduling_euler_discrete import EulerDiscreteScheduler
from diffusers.schedulers.scheduling_lcm import LCMScheduler
from PIL import Image
from safetensors import safe_open

from .reading import read_picture
from .scenes import Scene

_BATCH = 20
_SAMPLERS = {"euler": EulerDiscreteScheduler, "lcm": LCMScheduler}


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampling:
    """How a checkpoint is sampled."""

    sampler: str
    steps: int
    guidance: float
    prediction: str
    zero_snr: bool
    spacing: str
    width_px: int = 128
    height_px: int = 128


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """Numbers of pictures, of `count`, with the right background, colour of the shape, and shape."""

    count: int
    background: int
    colour: int
    shape: int

    def __str__(self) -> str:
        return f"background {self.background}, shape colour {self.colour}, shape {self.shape} of {self.count}"


def sampling_of(checkpoint: Path) -> Sampling:
    """Read the defaults of the sidecar and the traits of the header's keys."""
    defaults: Mapping[str, Any] = tomllib.loads(checkpoint.with_suffix(".toml").read_text(encoding="utf-8"))
    with safe_open(checkpoint, framework="pt") as file:
        keys = set(file.keys())
    return Sampling(
        sampler=defaults["sampler"],
        steps=defaults["num_inference_steps"],
        guidance=defaults["guidance_scale"],
        prediction="v_prediction" if "v_pred" in keys else "epsilon",
        zero_snr="ztsnr" in keys,
        spacing=defaults.get("timestep_spacing", "leading"),
        width_px=defaults["width"],
        height_px=defaults["height"],
    )


def load_pipeline(checkpoint: Path, configs: Path) -> StableDiffusionXLPipeline:
    """Load a checkpoint as any user of diffusers would, offline."""
    pipeline = StableDiffusionXLPipeline.from_single_file(
        checkpoint, config=str(configs), local_files_only=True, torch_dtype=torch.float32, add_watermarker=False
    )
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def paint(
    pipeline: StableDiffusionXLPipeline,
    sampling: Sampling,
    captions: Sequence[str],
    negative: str | None = None,
    seed: int = 0,
) -> list[Image.Image]:
    """Make one picture per caption; the i-th uses seed + i."""
    pipeline.scheduler = _SAMPLERS[sampling.sampler].from_config(
        pipeline.scheduler.config,
        prediction_type=sampling.prediction,
        rescale_betas_zero_snr=sampling.zero_snr,
        timestep_spacing=sampling.spacing,
    )
    network: Any = pipeline
    pictures: list[Image.Image] = []
    for begin in range(0, len(captions), _BATCH):
        batch = list(captions[begin : begin + _BATCH])
        generators = [torch.Generator().manual_seed(seed + begin + i) for i in range(len(batch))]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            pictures += network(
                prompt=batch,
                negative_prompt=None if negative is None else [negative] * len(batch),
                num_inference_steps=sampling.steps,
                guidance_scale=sampling.guidance,
                width=sampling.width_px,
                height=sampling.height_px,
                generator=generators,
            ).images
    return pictures


def score(scenes: Sequence[Scene], pictures: Sequence[Image.Image]) -> Score:
    """Compare pictures with their one-figure scenes."""
    background = colour = shape = 0
    for scene, picture in zip(scenes, pictures, strict=True):
        reading, wanted = read_picture(picture), scene.figures[0]
        background += reading.background == scene.background
        colour += bool(reading.figures) and reading.figures[0].colour == wanted.colour
        shape += bool(reading.figures) and reading.figures[0].shape == wanted.shape
    return Score(count=len(scenes), background=background, colour=colour, shape=shape)


def pairs_right(scenes: Sequence[Scene], pictures: Sequence[Image.Image]) -> int:
    """Count the pictures that show exactly the figures of their scene, by shape and colour."""
    wanted = [sorted((figure.shape, figure.colour) for figure in scene.figures) for scene in scenes]
    seen = [sorted((figure.shape, figure.colour) for figure in read_picture(picture).figures) for picture in pictures]
    return sum(one == other for one, other in zip(wanted, seen, strict=True))


def contact_sheet(pictures: Sequence[Image.Image], columns: int) -> Image.Image:
    """Put pictures of one size side by side."""
    width, height = pictures[0].size
    rows = -(-len(pictures) // columns)
    sheet = Image.new("RGB", (columns * (width + 4) - 4, rows * (height + 4) - 4), "white")
    for i, picture in enumerate(pictures):
        sheet.paste(picture, (i % columns * (width + 4), i // columns * (height + 4)))
    return sheet
