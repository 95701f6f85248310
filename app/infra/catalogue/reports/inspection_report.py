"""What `litestar-diffusion inspect` says of a file or folder: what was found, and why, in words."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from ....domain.errors import InvalidRequest, UnusableModel
from ....domain.families.family import Family
from ....domain.families.registry import family_named
from ....domain.models.spec import Checkpoint, ModelOverrides, ModelSpec
from ....domain.requests.parameters import GenerationParameters, Limits
from ....domain.requests.request import GenerationRequest
from ....domain.requests.resolving.resolution import resolve
from ....domain.units import format_bytes
from ...weights.safetensors_header import TensorEntry, read_header
from ..additions.embeddings import describe_embedding, is_embedding_path
from ..additions.upscaler_files import UPSCALERS, describe_upscaler
from ..models.diffusers_folder import read_folder
from ..models.local_models import describe
from ..scan import candidate_of

_MAX_VALUE_CHARS = 100
_PICTURES = "data:image"


def explain(path: Path) -> str:
    """Describe a checkpoint or diffusers folder from its headers alone, with the sidecar and configs beside it; or an embedding.

    Raises:
        UnusableModel: it cannot be served; the message says why and what to do.
    """
    if path.is_file() and is_embedding_path(path):
        return "\n".join(_embedding(path))
    candidate = candidate_of(path.absolute())
    upscaler = describe_upscaler(candidate).spec
    if upscaler.unusable is None:
        return "\n".join(_upscaler_lines(upscaler, path))
    spec = (
        upscaler
        if path.absolute().parent.name.lower() in UPSCALERS.names
        else describe(candidate, ModelOverrides()).spec
    )
    if spec.unusable is not None:
        raise UnusableModel(path.name, spec.unusable)
    return "\n".join(_lines(spec, path))


def _upscaler_lines(spec: ModelSpec, path: Path) -> Iterator[str]:
    yield f"{path}: usable in the folder {UPSCALERS.names[0]}, as upscaler {spec.name}"
    yield ""
    yield "What it is, and how that was found:"
    for line in spec.evidence:
        yield f"  - {line}"
    yield ""
    header = read_header(path)
    yield from _components({"upscaler": list(header.tensors.values())})
    yield from _metadata(header.metadata)


def _embedding(path: Path) -> Iterator[str]:
    spec = describe_embedding(path)
    reading = spec.reading
    if reading is None:
        raise UnusableModel(path.name, spec.unusable or "it is no embedding.")
    yield f"{path}: usable, as the textual inversion embedding {_printable(spec.name)!r}"
    yield ""
    title = family_named(reading.family).title
    yield f"For models of {title}; prompts name it by its name, or by embedding:{_printable(spec.name)}"
    for tensor, width in zip(reading.tensors, reading.widths, strict=True):
        yield f"  {tensor:<20} {reading.vectors} vectors of {width} numbers"
    yield f"SHA-256: {spec.sha256}"
    yield from _metadata(read_header(path).metadata)


def _lines(spec: ModelSpec, path: Path) -> Iterator[str]:
    yield f"{path}: usable, as model {spec.name}"
    yield ""
    yield "What it is, and how that was found:"
    for line in spec.evidence:
        yield f"  - {line}"
    yield ""
    family = family_named(spec.traits.family)
    yield from _checkpoint(spec.source, family) if isinstance(spec.source, Checkpoint) else _folder(path, family)
    yield ""
    yield from _defaults(spec)


def _checkpoint(source: Checkpoint, family: Family) -> Iterator[str]:
    header = read_header(source.path)
    yield from _components(_by_component(header.tensors, family))
    configs = (
        source.config.name if source.config is not None else f"those of {family.title}, which ship with the server"
    )
    yield f"Component configs: {configs}"
    yield from _metadata(header.metadata)


def _folder(path: Path, family: Family) -> Iterator[str]:
    headers = read_folder(path, None, path.name).headers
    yield from _components(
        {
            title: [tensor for header in headers[name] for tensor in header.tensors.values()]
            for name, title in family.components.items()
        }
    )


def _by_component(tensors: Mapping[str, TensorEntry], family: Family) -> dict[str, list[TensorEntry]]:
    """Group the tensors of a single file by the titles of their components; those of none come last."""
    found: dict[str, list[TensorEntry]] = {title: [] for title in family.components.values()}
    for key, tensor in tensors.items():
        component = family.component_of(key)
        title = "other tensors" if component is None else family.components[component]
        found.setdefault(title, []).append(tensor)
    return found


def _components(components: Mapping[str, Sequence[TensorEntry]]) -> Iterator[str]:
    every = [tensor for tensors in components.values() for tensor in tensors]
    yield "Weights:"
    for title, tensors in (*components.items(), ("in all", every)):
        yield (
            f"  {title:<20} {_count(sum(tensor.elements for tensor in tensors)):>10} parameters "
            f"{format_bytes(sum(tensor.nbytes for tensor in tensors)):>10}   {_dtypes(tensors)}"
        )


def _dtypes(tensors: Sequence[TensorEntry]) -> str:
    """Most of the bytes first."""
    nbytes: Counter[str] = Counter()
    for tensor in tensors:
        nbytes[tensor.dtype] += tensor.nbytes
    return ", ".join(dtype for dtype, _ in nbytes.most_common())


def _metadata(metadata: Mapping[str, str]) -> Iterator[str]:
    if not metadata:
        yield "Metadata: none"
        return
    yield "Metadata:"
    for key, value in sorted(metadata.items()):
        yield f"  {_printable(key)}: {'(a picture)' if value.startswith(_PICTURES) else _printable(value)}"


def _printable(text: str) -> str:
    """Cut, and without control characters: a terminal obeys some of them."""
    shown = text if len(text) <= _MAX_VALUE_CHARS else f"{text[:_MAX_VALUE_CHARS]}…"
    return "".join(letter if letter.isprintable() else " " for letter in shown)


def _defaults(spec: ModelSpec) -> Iterator[str]:
    yield "A request that says nothing but its prompt gets:"
    try:
        request = resolve(GenerationParameters(prompt=""), spec, Limits(), random_seed=0).request
    except InvalidRequest as error:
        yield f"  nothing, because its defaults break the usual limits: {error.message}"
        return
    yield from (f"  {line}" for line in _resolved(request))


def _resolved(request: GenerationRequest) -> Iterator[str]:
    yield f"{request.width} x {request.height} pixels, {request.num_inference_steps} steps, sampler {request.sampler}"
    yield (
        f"guidance scale {request.guidance_scale:g}, guidance rescale {request.guidance_rescale:g}, "
        f"timestep spacing {request.timestep_spacing or 'as the sampler has it'}"
    )
    if request.negative_prompt:
        yield f"negative prompt {request.negative_prompt!r}"


def _count(parameters: int) -> str:
    return f"{parameters / 1e6:,.2f} M"
