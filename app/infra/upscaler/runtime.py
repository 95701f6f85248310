"""The upscalers' implementation of the engine's family interface."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from ...domain.families.reading import NotServable
from ...domain.models.adapters import AdapterSpec
from ...domain.models.spec import ModelSpec
from ...domain.models.vaes import VaeSpec
from ...domain.requests.inspection import Inspection
from ...domain.requests.request import GenerationRequest
from ..engine.family import FamilyRuntime
from .load import load_upscaler, weight_summary
from .run import UpscaleForward, UpscaleRun


def _nothing_added(spec: AdapterSpec | VaeSpec, *_arguments: Any) -> Any:
    raise NotServable(f"nothing is added to upscalers, and {spec.name!r} would be")


def _no_inspection(spec: ModelSpec, _files: Path | None) -> Callable[[GenerationRequest], Inspection]:
    raise ValueError(f"{spec.name!r} is an upscaler, which reads no prompts")


UPSCALER = FamilyRuntime(
    load=load_upscaler,
    weight_summary=weight_summary,
    load_adapter=_nothing_added,
    load_vae=_nothing_added,
    begin=UpscaleRun,
    batched_forward=UpscaleForward,
    cell_px=1,
    inspector=_no_inspection,
)
