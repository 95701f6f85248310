"""SDXL's implementation of the engine's family interface."""

from ...domain.families.latents import LATENT_SCALE
from ..engine.family import FamilyRuntime
from .adapters.adapters import load_adapter
from .inspect import SdxlInspector
from .loading.load import load_model, weight_summary
from .run import SdxlBatchedForward, SdxlRun
from .vae import load_vae

SDXL = FamilyRuntime(
    load=load_model,
    weight_summary=weight_summary,
    load_adapter=load_adapter,
    load_vae=load_vae,
    begin=SdxlRun,
    batched_forward=SdxlBatchedForward,
    cell_px=LATENT_SCALE,
    inspector=SdxlInspector,
)
