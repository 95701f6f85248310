"""Loads a model from disk into host memory, each network's weights in one buffer. Opens no socket."""

from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec

from ....domain.families.sdxl.folder import read_folder
from ....domain.families.sdxl.preview_factors import SDXL_PREVIEW
from ....domain.families.sdxl.tensors.key_tensors import COMPONENTS, PREFIXES
from ....domain.models.components import OnLoad
from ....domain.models.spec import Checkpoint, HubRepository, ModelSpec, ModelTraits
from ...device.precision import FileWeights, Precision
from ...diffusion.load_context import Loading
from ...diffusion.prompt_cache import PromptCache
from ...weights.folder_facts import folder_facts
from ...weights.safetensors_header import TensorEntry, read_header
from .component_reader import ComponentReader, component_files
from .components import SHIPPED_CONFIGS, SdxlModel, load_tokenizer, read_config, read_sampler_config


def load_model(
    spec: ModelSpec,
    files: Path,
    precision: Precision,
    on_load: OnLoad,
    loading: Loading | None = None,
) -> SdxlModel:
    """Read a model into host memory. Blocks while it reads; call it from a loader thread.

    Args:
        spec: the catalogue entry.
        files: the checkpoint file, or the diffusers folder (of a repository: its local snapshot).
        precision: dtypes of the weights in memory, which are cast while they are read, and of the computation.
        on_load: called with the bytes that have been read.
        loading: parts that the models of one engine share; by default nothing is shared.

    Raises:
        UnusableModel: tensors are missing or have the wrong shape.
        NotServable: a repository turns out to be unfit when it has been downloaded.
        BrokenFile: a file of weights is broken.
        OSError: the files cannot be read.
    """
    loading = loading or Loading()
    if isinstance(spec.source, HubRepository):  # a first look: before the download only its name was known
        facts, _ = folder_facts(files, spec.source.variant, spec.source.repo)
        read_folder(facts)
    configs = configs_of(spec, files)
    with ComponentReader(spec, files, configs, precision, loading, on_load) as reader:
        reader.find(COMPONENTS)
        tokenizer, tokenizer_2 = (load_tokenizer(configs, name) for name in ("tokenizer", "tokenizer_2"))
        reader.start()
        networks = {component: reader.take(component) for component in COMPONENTS}
    modules: dict[str, Any] = {component: network.module for component, network in networks.items()}
    sampler_config = read_sampler_config(configs)
    return SdxlModel(
        **modules,
        tokenizer=tokenizer,
        tokenizer_2=tokenizer_2,
        sampler_config=sampler_config,
        zero_empty_negative=bool(read_config(configs, "model_index.json").get("force_zeros_for_empty_prompt", True)),
        traits=traits_of(spec, sampler_config),
        dtype=precision.computed,
        components=tuple(network.facts for network in networks.values()),
        prompts=PromptCache(loading.prompt_cache_nbytes),
        preview=spec.overrides.preview or SDXL_PREVIEW,
    )


def weight_summary(spec: ModelSpec, files: Path) -> FileWeights:
    """Sum up the weights that loading reads, from headers alone.

    Raises:
        BrokenFile: a file is damaged.
        NotServable: a component has no usable files.
    """
    tensors = list(_tensors(spec, files))
    numbers: Counter[str] = Counter()
    for tensor in tensors:
        numbers[tensor.dtype] += tensor.elements
    vectors = sum(tensor.elements for tensor in tensors if len(tensor.shape) == 1)
    return FileWeights(numbers=numbers.total(), vectors=vectors, dtype=max(numbers, key=lambda name: numbers[name]))


def _tensors(spec: ModelSpec, files: Path) -> Iterator[TensorEntry]:
    """Return the header's entries of all components."""
    if isinstance(spec.source, Checkpoint):
        wanted = tuple(prefix for prefixes in PREFIXES.values() for prefix in prefixes)
        yield from (tensor for name, tensor in read_header(files).tensors.items() if name.startswith(wanted))
        return
    for component in COMPONENTS:
        for shard in component_files(spec, files, component):
            yield from read_header(shard).tensors.values()


def configs_of(spec: ModelSpec, files: Path) -> Path:
    """Return the folder of a model's component configs."""
    if isinstance(spec.source, Checkpoint):
        return spec.source.config or SHIPPED_CONFIGS
    return files


def traits_of(spec: ModelSpec, sampler_config: Mapping[str, Any]) -> ModelTraits:
    """Return a model's traits by its own sampler config, which is better evidence than a repository's name; overrides win."""
    if isinstance(spec.source, Checkpoint):
        return spec.traits
    stated = spec.overrides
    found: dict[str, Any] = {}
    if stated.prediction_type is None and "prediction_type" in sampler_config:
        found["prediction_type"] = sampler_config["prediction_type"]
    if stated.zero_snr is None and "rescale_betas_zero_snr" in sampler_config:
        found["zero_snr"] = bool(sampler_config["rescale_betas_zero_snr"])
    return msgspec.structs.replace(spec.traits, **found)
