"""What `litestar-diffusion inspect` says of a file or folder: what was found, and why, in words."""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from ..domain.errors import UnusableModel
from ..domain.generation import GenerationParameters, Limits, resolve
from ..domain.model import Checkpoint, ModelOverrides, ModelSpec
from .header import Header, read_header
from .local import candidate_of, describe

_PARTS = {
    "UNet": "model.diffusion_model.",
    "VAE": "first_stage_model.",
    "text encoder 1": "conditioner.embedders.0.",
    "text encoder 2": "conditioner.embedders.1.",
}


def explain(path: Path) -> str:
    """Describe a checkpoint or diffusers folder from its headers alone.

    Raises:
        UnusableModel: it cannot be served; the message says why and what to do.
    """
    spec = describe(candidate_of(path), ModelOverrides(), builtin=False)
    if spec.unusable is not None:
        raise UnusableModel(path.name, spec.unusable)
    return "\n".join(_lines(spec, path))


def _lines(spec: ModelSpec, path: Path) -> Iterator[str]:
    yield f"{path}: usable, as model {spec.name!r}"
    yield f"  weights on disk: {(spec.nbytes or 0) / 1e6:.1f} MB"
    yield "Traits, and how each was found:"
    for line in spec.evidence:
        yield f"  - {line}"
    if isinstance(spec.source, Checkpoint):
        header = read_header(spec.source.path)
        yield from _parts(header)
        yield f"Component configs: {spec.source.config.name if spec.source.config else 'the shipped SDXL 1.0 ones'}"
        yield from _metadata(header)
    yield from _defaults(spec)


def _parts(header: Header) -> Iterator[str]:
    yield f"Tensors: {len(header.tensors)}"
    for part, prefix in _PARTS.items():
        tensors = [tensor for name, tensor in header.tensors.items() if name.startswith(prefix)]
        nbytes = sum(tensor.end - tensor.begin for tensor in tensors)
        dtypes = ", ".join(dtype for dtype, _ in Counter(tensor.dtype for tensor in tensors).most_common())
        yield f"  {part}: {len(tensors)} tensors, {nbytes / 1e6:.1f} MB, {dtypes}"


def _metadata(header: Header) -> Iterator[str]:
    if not header.metadata:
        yield "Metadata: none"
        return
    yield "Metadata:"
    for key, value in sorted(header.metadata.items()):
        yield f"  {key}: {value if len(value) <= 100 else value[:100] + '…'}"


def _defaults(spec: ModelSpec) -> Iterator[str]:
    request = resolve(GenerationParameters(prompt=""), spec, Limits(), random_seed=0).request
    yield "A request that says nothing but its prompt gets:"
    yield f"  size {request.width} x {request.height}, {request.num_inference_steps} steps, sampler {request.sampler}, "
    yield f"  guidance {request.guidance_scale:g}, timestep spacing {request.timestep_spacing or 'of the model'}"
