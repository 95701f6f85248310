"""Loads a model from disk into host memory: each network's weights in one arena, in their dtype and layout, no socket opened."""

from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import torch
from diffusers.models.modeling_utils import ModelMixin
from torch import Tensor, nn

from ...domain.checkpoint import NotServable
from ...domain.errors import UnusableModel
from ...domain.model import SDXL_PREVIEW, Checkpoint, HubRepository, ModelSpec, ModelTraits
from ...domain.ports import Component, ComponentId, LoadProgress, OnLoad
from ..arena import lay_out
from ..filling import Filler, ReadBy
from ..header import BrokenFile, read_header
from ..mapped import MappedFile, mapped
from ..store import ComponentStore, Network
from ..weight_files import weight_files
from .checkpoint import PREFIXES, StateDict, component_weights
from .components import COMPONENT_NAMES, SHIPPED_CONFIGS, SdxlModel, build_network, load_tokenizer, read_config
from .prompt_cache import DEFAULT_NBYTES, PromptCache

_MAX_NAMED_TENSORS = 3


def load_model(
    spec: ModelSpec,
    files: Path,
    dtype: torch.dtype,
    on_load: OnLoad,
    store: ComponentStore | None = None,
    read_by: ReadBy = "plain",
    prompt_cache_nbytes: int = DEFAULT_NBYTES,
) -> SdxlModel:
    """Read a model. Blocks for as long as the disk takes; call it from a loader thread.

    Args:
        spec: the catalogue entry.
        files: the checkpoint file, or the diffusers folder (of a repository: its local snapshot).
        dtype: of all weights; the file's own are cast on the way.
        on_load: hears of the bytes that are in place.
        store: shares what is in memory already; one of its own by default.
        read_by: how to read; mapped files are slow on network disks.
        prompt_cache_nbytes: of host memory in which the model keeps encoded prompts; 0: none.

    Raises:
        UnusableModel: tensors are missing or have the wrong shape.
        OSError: the files cannot be read.
    """
    store = store or ComponentStore()
    configs = configs_of(spec, files)
    loader = _Loader(spec, files, configs, dtype, store, read_by, _Progress(spec, on_load))
    networks: dict[str, Network] = {}
    try:
        for component in COMPONENT_NAMES:
            networks[component] = loader.load(component)
    except BaseException:
        store.release((network.facts for network in networks.values()), reuse=False)
        raise
    finally:
        store.drop_spares()
    modules: dict[str, Any] = {component: network.module for component, network in networks.items()}
    sampler_config = read_config(configs, "scheduler/scheduler_config.json")
    return SdxlModel(
        **modules,
        tokenizer=load_tokenizer(configs, "tokenizer"),
        tokenizer_2=load_tokenizer(configs, "tokenizer_2"),
        sampler_config=sampler_config,
        zero_empty_negative=bool(read_config(configs, "model_index.json").get("force_zeros_for_empty_prompt", True)),
        traits=traits_of(spec, sampler_config),
        dtype=dtype,
        components=tuple(network.facts for network in networks.values()),
        prompts=PromptCache(prompt_cache_nbytes),
        preview=spec.overrides.preview or SDXL_PREVIEW,
    )


def weights_elements(spec: ModelSpec, files: Path) -> int:
    """How many numbers the components hold, from headers alone.

    Raises:
        BrokenFile: a file is damaged.
        NotServable: a component has no usable files.
    """
    if isinstance(spec.source, Checkpoint):
        tensors = read_header(files).tensors
        wanted = tuple(PREFIXES.values())
        return sum(tensor.elements for name, tensor in tensors.items() if name.startswith(wanted))
    shards = (shard for component in COMPONENT_NAMES for shard in component_files(spec, files, component))
    return sum(tensor.elements for shard in shards for tensor in read_header(shard).tensors.values())


def component_files(spec: ModelSpec, files: Path, component: str) -> list[Path]:
    """The files that hold the weights of a component.

    Raises:
        NotServable: there are none, or an index cannot be used.
    """
    if isinstance(spec.source, Checkpoint):
        return [files]
    variant = spec.source.variant if isinstance(spec.source, HubRepository) else None
    return weight_files(files / component, variant)


class _Progress:
    """Adds up the bytes of all components for whoever watches the load."""

    def __init__(self, spec: ModelSpec, on_load: OnLoad) -> None:
        self._on_load = on_load
        self._done = 0
        self._total = spec.nbytes or 0

    def add(self, nbytes: int) -> None:
        self._done += nbytes
        total = max(self._done, self._total)
        self._on_load(LoadProgress(phase="read", done_nbytes=self._done, total_nbytes=total))


class _Loader:
    """Loads the components of one model, one after the other."""

    def __init__(
        self,
        spec: ModelSpec,
        files: Path,
        configs: Path,
        dtype: torch.dtype,
        store: ComponentStore,
        read_by: ReadBy,
        progress: _Progress,
    ) -> None:
        self._spec = spec
        self._files = files
        self._configs = configs
        self._dtype = dtype
        self._store = store
        self._read_by: ReadBy = read_by
        self._progress = progress

    def load(self, component: str) -> Network:
        """One component: the one in memory, if it is known to be the same, else read from the files."""
        spec, dtype = self._spec, str(self._dtype).removeprefix("torch.")
        key = (str(self._files), spec.version, component, dtype)
        known = self._store.remembered(key)
        if known is not None:
            self._progress.add(known.facts.nbytes)
            return known
        config = read_config(self._configs, f"{component}/config.json")
        module = build_network(component, self._configs)
        try:
            with mapped(component_files(spec, self._files, component)) as opened:
                fresh = self._read(component, module, opened)
        except (BrokenFile, NotServable) as error:
            raise UnusableModel(spec.name, str(error)) from error
        return self._store.add(key, fresh, config)

    def _read(self, component: str, module: nn.Module, opened: list[MappedFile]) -> Network:
        tensors = OrderedDict((name, tensor) for file in opened for name, tensor in file.tensors().items())
        if isinstance(self._spec.source, Checkpoint):
            weights = component_weights(tensors, component, module)
        else:
            if isinstance(module, ModelMixin):
                module._fix_state_dict_keys_on_load(tensors)  # noqa: SLF001 - renames old VAE keys
            weights = tensors
        sources = _aligned(self._spec.name, component, module, weights)
        layout = lay_out(module.state_dict().items(), self._dtype)
        arena = self._store.arena(layout.nbytes)
        pairs = [(slot.view(arena.buffer), sources[name]) for name, slot in layout.slots.items()]
        Filler(opened, self._read_by).fill(pairs, self._progress.add)
        dtype = str(self._dtype).removeprefix("torch.")
        facts = Component(id=ComponentId(""), name=component, nbytes=layout.nbytes, dtype=dtype)
        network = Network(facts, module.eval(), arena, layout, _buffers(module))
        network.point_to(arena.buffer)
        return network


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


def _aligned(model: str, component: str, network: nn.Module, weights: StateDict) -> StateDict:
    """The source of every weight of a network."""
    expected = network.state_dict()
    found = {key: weights[name] for key in expected if (name := _source_name(key, weights)) is not None}
    problems = [f"{key} is missing" for key in expected if key not in found]
    problems += [
        f"{key} has shape {list(found[key].shape)} where {list(wanted.shape)} is needed"
        for key, wanted in expected.items()
        if key in found and found[key].shape != wanted.shape
    ]
    if problems:
        raise UnusableModel(model, _told(component, problems))
    return found


def _source_name(key: str, weights: StateDict) -> str | None:
    """Transformers 5 dropped the `text_model.` level of CLIPTextModel; files keep it."""
    return next((name for name in (key, f"text_model.{key}") if name in weights), None)


def _told(component: str, problems: list[str]) -> str:
    shown = "; ".join(problems[:_MAX_NAMED_TENSORS])
    more = f"; and {len(problems) - _MAX_NAMED_TENSORS} more" if len(problems) > _MAX_NAMED_TENSORS else ""
    return (
        f"its {component} does not fit the SDXL configs: {shown}{more}. If it is a variant of SDXL with other sizes, "
        "put its diffusers configs into a folder <name>.config beside the file."
    )


def _buffers(network: nn.Module) -> dict[str, Tensor]:
    """The buffers that no file holds."""
    stored = network.state_dict().keys()
    return {
        name: _rebuilt(name.rpartition(".")[2], buffer)
        for name, buffer in network.named_buffers()
        if name not in stored
    }


def _rebuilt(name: str, buffer: Tensor) -> Tensor:
    if name != "position_ids":
        raise ValueError(f"a buffer {name!r} is neither in the file nor known")
    return torch.arange(buffer.shape[-1]).expand(buffer.shape).clone()
