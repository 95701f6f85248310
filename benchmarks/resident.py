"""A model of ours on a device, without pool and server, and diffusers' pipeline beside it."""

from pathlib import Path
from typing import Any

import torch
from diffusers.pipelines.stable_diffusion_xl.pipeline_stable_diffusion_xl import StableDiffusionXLPipeline

from litestar_diffusion.domain.models.spec import Checkpoint, DtypeName, ModelName, ModelSpec, ModelTraits
from litestar_diffusion.domain.requests.parameters import GenerationParameters, Limits
from litestar_diffusion.domain.requests.request import GenerationRequest
from litestar_diffusion.domain.requests.resolving.resolution import resolve
from litestar_diffusion.infra.device.precision import precision_of
from litestar_diffusion.infra.device.transfer import Mover
from litestar_diffusion.infra.diffusion.load_context import Loading
from litestar_diffusion.infra.diffusion.prompt_cache import PromptCache
from litestar_diffusion.infra.sdxl.loading.components import SHIPPED_CONFIGS, SdxlModel
from litestar_diffusion.infra.sdxl.loading.load import load_model, weight_summary
from litestar_diffusion.infra.weights.component_store import ComponentStore

PROMPT = "a red circle on a blue background"
SEED = 7


def load_ours(file: Path, config: Path | None, dtype: DtypeName, device: torch.device) -> SdxlModel:
    """Load a checkpoint and bring it to the device. It keeps no prompt, so that every image encodes its own.

    Args:
        file: the checkpoint.
        config: the folder of its component configs; None: SDXL's.
        dtype: as in the settings.
        device: where it runs.
    """
    store, spec = ComponentStore(), _spec(file, config)
    precision = precision_of(dtype, device, weight_summary(spec, file))
    model = load_model(spec, file, precision, lambda _: None, Loading(store=store))
    model.prompts = PromptCache(max_nbytes=0)
    mover = Mover(device)
    mover.place(store.named([component.id for component in model.components]))
    mover.wait()
    return model


def load_diffusers(file: Path, config: Path | None, dtype: torch.dtype) -> Any:
    """The plain pipeline, in host memory."""
    pipeline: Any = StableDiffusionXLPipeline.from_single_file(
        str(file),
        config=str(config or SHIPPED_CONFIGS),
        local_files_only=True,
        torch_dtype=dtype,
        add_watermarker=False,
    )
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def request_of(
    file: Path, config: Path | None, *, side_px: int, steps: int, guidance: float, n: int = 1
) -> GenerationRequest:
    """A request for square images."""
    said = GenerationParameters(
        prompt=PROMPT,
        num_inference_steps=steps,
        guidance_scale=guidance,
        width=side_px,
        height=side_px,
        seed=SEED,
        n=n,
    )
    limits = Limits(max_n=max(n, Limits().max_n))
    return resolve(said, _spec(file, config), limits, random_seed=0).request


def synchronize(device: torch.device) -> None:
    """Wait for what the device was given to do."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _spec(file: Path, config: Path | None) -> ModelSpec:
    return ModelSpec(
        name=ModelName(file.stem), source=Checkpoint(path=file, config=config), traits=ModelTraits(), version="1"
    )
