"""SDXL as the engine sees it."""

from ..engine.family import FamilyRuntime
from .inspect import SdxlInspector
from .load import load_model, weight_summary
from .run import SdxlBatchedForward, SdxlRun

SDXL = FamilyRuntime(
    load=load_model,
    weight_summary=weight_summary,
    begin=SdxlRun,
    batched_forward=SdxlBatchedForward,
    inspector=SdxlInspector,
)
