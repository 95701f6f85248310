"""Loads and draws toys: the one step of each run is the whole call."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from litestar_diffusion.domain.models.components import Component
from litestar_diffusion.domain.models.spec import ModelSpec
from litestar_diffusion.domain.requests.inspection import Inspection
from litestar_diffusion.domain.requests.rendering import RawImage
from litestar_diffusion.domain.requests.request import GenerationRequest
from litestar_diffusion.infra.device.precision import FileWeights
from litestar_diffusion.infra.engine.family import FamilyRuntime
from litestar_diffusion.infra.engine.whole_call import WholeCallForward, WholeCallRun


@dataclass
class Toy:
    components: tuple[Component, ...] = ()


def draw(request: GenerationRequest) -> list[RawImage]:
    """A gradient from black, at the left, to the seed's shade of red."""
    rows = bytes(
        value for x in range(request.width) for value in (request.seeds[0] * x // max(request.width - 1, 1) % 256, 0, 0)
    )
    return [RawImage(width=request.width, height=request.height, pixels=rows * request.height) for _ in request.seeds]


def inspector(_spec: ModelSpec, _files: Path | None) -> Callable[[GenerationRequest], Inspection]:
    raise ValueError("toys are not inspected")


def load_vae(*_: Any) -> Any:
    raise ValueError("toys have no VAE")


def begin(_model: Any, request: GenerationRequest, *_savings: Any) -> WholeCallRun:
    return WholeCallRun(request, lambda request: draw(request))


TOY = FamilyRuntime(
    load=lambda *_: Toy(),
    weight_summary=lambda _spec, _files: FileWeights(numbers=3, vectors=3, dtype="F16"),
    load_adapter=lambda *_: Toy(),
    load_vae=load_vae,
    begin=begin,
    batched_forward=WholeCallForward,
    cell_px=1,
    inspector=inspector,
)
