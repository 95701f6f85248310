"""Loads a model from disk into host memory: each network's weights in one arena, in their dtype and layout, no socket opened."""

from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec
import torch

from ...domain.model import SDXL_PREVIEW, Checkpoint, ModelSpec, ModelTraits
from ...domain.ports import OnLoad
from ..filling import ReadBy
from ..header import Tensor as TensorEntry
from ..header import read_header
from ..precision import FileWeights
from ..store import ComponentStore
from ..widening import COMPUTED, Widener
from .checkpoint import PREFIXES
from .components import COMPONENT_NAMES, SHIPPED_CONFIGS, SdxlModel, load_tokenizer, read_config
from .prompt_cache import DEFAULT_NBYTES, PromptCache
from .reader import ComponentReader, component_files


def load_model(
    spec: ModelSpec,
    files: Path,
    dtype: torch.dtype,
    on_load: OnLoad,
    store: ComponentStore | None = None,
    read_by: ReadBy = "auto",
    prompt_cache_nbytes: int = DEFAULT_NBYTES,
    widener: Widener | None = None,
) -> SdxlModel:
    """Read a model. Blocks for as long as the disk takes; call it from a loader thread.

    Args:
        spec: the catalogue entry.
        files: the checkpoint file, or the diffusers folder (of a repository: its local snapshot).
        dtype: of all weights; the file's own are cast on the way.
        on_load: hears of the bytes that are in place.
        store: shares what is in memory already; one of its own by default.
        read_by: how to read the files.
        prompt_cache_nbytes: of host memory in which the model keeps encoded prompts; 0: none.
        widener: of the engine, where the weights of `dtype` are computed with in float32.

    Raises:
        UnusableModel: tensors are missing or have the wrong shape.
        OSError: the files cannot be read.
    """
    store = store or ComponentStore()
    configs = configs_of(spec, files)
    with ComponentReader(spec, files, configs, dtype, widener, store, read_by, on_load) as reader:
        reader.find(COMPONENT_NAMES)
        tokenizer, tokenizer_2 = (load_tokenizer(configs, name) for name in ("tokenizer", "tokenizer_2"))
        reader.start()
        networks = {component: reader.take(component) for component in COMPONENT_NAMES}
    modules: dict[str, Any] = {component: network.module for component, network in networks.items()}
    sampler_config = read_config(configs, "scheduler/scheduler_config.json")
    return SdxlModel(
        **modules,
        tokenizer=tokenizer,
        tokenizer_2=tokenizer_2,
        sampler_config=sampler_config,
        zero_empty_negative=bool(read_config(configs, "model_index.json").get("force_zeros_for_empty_prompt", True)),
        traits=traits_of(spec, sampler_config),
        dtype=dtype if widener is None else COMPUTED,
        components=tuple(network.facts for network in networks.values()),
        prompts=PromptCache(prompt_cache_nbytes),
        preview=spec.overrides.preview or SDXL_PREVIEW,
    )


def weights_in(spec: ModelSpec, files: Path) -> FileWeights:
    """What loading would read, from headers alone.

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
    """The header's entries of all components."""
    if isinstance(spec.source, Checkpoint):
        wanted = tuple(PREFIXES.values())
        yield from (tensor for name, tensor in read_header(files).tensors.items() if name.startswith(wanted))
        return
    for component in COMPONENT_NAMES:
        for shard in component_files(spec, files, component):
            yield from read_header(shard).tensors.values()


def configs_of(spec: ModelSpec, files: Path) -> Path:
    """The folder of a model's component configs."""
    if isinstance(spec.source, Checkpoint):
        return spec.source.config or SHIPPED_CONFIGS
    return files


def traits_of(spec: ModelSpec, sampler_config: Mapping[str, Any]) -> ModelTraits:
    """A folder's own sampler config knows better than a guess from the repository's name; a person knows best."""
    if isinstance(spec.source, Checkpoint):
        return spec.traits
    stated = spec.overrides
    found: dict[str, Any] = {}
    if stated.prediction_type is None and "prediction_type" in sampler_config:
        found["prediction_type"] = sampler_config["prediction_type"]
    if stated.zero_snr is None and "rescale_betas_zero_snr" in sampler_config:
        found["zero_snr"] = bool(sampler_config["rescale_betas_zero_snr"])
    return msgspec.structs.replace(spec.traits, **found)
