"""Reads the components of one model into memory: networks are built one after the other, weights are read in parallel."""

from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import msgspec
import torch
from diffusers.models.modeling_utils import ModelMixin
from torch import Tensor, nn

from ....domain.errors import UnusableModel
from ....domain.families.sdxl.configs import VaeConfig
from ....domain.families.sdxl.detection import NotServable
from ....domain.families.sdxl.tensors.key_tensors import PREFIXES, ComponentName
from ....domain.families.sdxl.variants import channels_of_file, layers_of_file
from ....domain.models.components import Component, ComponentId, LoadProgress, OnLoad
from ....domain.models.spec import Checkpoint, HubRepository, ModelSpec
from ...device.precision import Precision
from ...diffusion.fast_layers.upcasting import upcast_weights
from ...diffusion.load_context import Loading
from ...weights.arena import HostArena, Layout, aligned, lay_out
from ...weights.component_store import Network
from ...weights.parallel_copy import ParallelCopier, PendingCopies
from ...weights.safetensors_file import SafetensorsFile, find_stored
from ...weights.safetensors_header import BrokenFile
from ...weights.weight_files import weight_files
from .components import build_network, read_config
from .key_conversion import StateDict, component_weights

_MAX_NAMED_TENSORS = 3


@dataclass(frozen=True, slots=True)
class _Found:
    """The tensors of a component in its files, and the buffer that they are read into."""

    key: tuple[str, ...]
    files: list[SafetensorsFile]
    tensors: dict[str, Tensor]
    arena: HostArena


@dataclass(frozen=True, slots=True)
class _Started:
    key: tuple[str, ...]
    network: Network
    copies: PendingCopies


class ComponentReader:
    """Reads the components of one model: `find` them, `start`, then `take` each in the same order.

    `find` begins to populate the pages of all buffers in other threads, without the interpreter's lock. The reader is a
    context manager that keeps the files open; if it ends with an error, every use that was taken is dropped.
    """

    def __init__(
        self,
        spec: ModelSpec,
        files: Path,
        configs: Path,
        precision: Precision,
        loading: Loading,
        on_load: OnLoad,
        *,
        rename: Callable[[str], str] = str,
        variants: Mapping[ComponentName, Mapping[str, Any]] | None = None,
    ) -> None:
        """Open nothing yet.

        Args:
            spec: the catalogue entry.
            files: the checkpoint file, or the diffusers folder.
            configs: folder of the component configs.
            precision: dtypes of the weights in memory and of the computation.
            loading: parts that the models of one engine share.
            on_load: called with the bytes that have been read.
            rename: returns the name in a checkpoint of a tensor in a file of another layout.
            variants: fields that replace those of a component's config.
        """
        self._rename = rename
        self._variants = variants or {}
        self._spec = spec
        self._files = files
        self._configs = configs
        self._precision = precision
        self._upcaster = loading.upcaster if precision.upcasts else None
        self._store = loading.store
        self._progress = _Progress(spec, on_load)
        self._copier = ParallelCopier()
        self._open = ExitStack()
        self._files_open: dict[Path, SafetensorsFile] = {}
        self._found: dict[ComponentName, _Found] = {}
        self._started: dict[ComponentName, _Started] = {}
        self._taken: dict[ComponentName, Network] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._copier.stop()
        self._open.close()
        if error is not None:
            self._store.release((network.facts for network in self._taken.values()), reuse=False)
        self._store.drop_spares()

    def find(self, components: Iterable[ComponentName]) -> None:
        """Find the tensors of components, except those whose part of the same file is in memory already.

        Raises:
            UnusableModel: the files are damaged.
        """
        with self._naming_the_model():
            self._found = {
                component: self._find(component) for component in components if not self._remembered(component)
            }

    def start(self) -> None:
        """Build the networks that were found, and begin to read their weights.

        Raises:
            UnusableModel: tensors that the configs need are missing or have other shapes.
        """
        with self._naming_the_model():
            for component, found in self._found.items():
                self._started[component] = self._begin(component, found)

    def take(self, component: ComponentName) -> Network:
        """Wait for a component that was started; if its content is in memory already, that copy is returned.

        Raises:
            OSError: the files cannot be read to their end.
        """
        if component not in self._taken:
            started = self._started.pop(component)
            started.copies.finish(self._progress.add)
            self._taken[component] = self._store.add(started.key, started.network)
        return self._taken[component]

    @contextmanager
    def _naming_the_model(self) -> Iterator[None]:
        """Add the model's name to errors about its files."""
        try:
            yield
        except (BrokenFile, NotServable) as error:
            raise UnusableModel(self._spec.name, str(error)) from error

    def _key(self, component: ComponentName) -> tuple[str, ...]:
        version = self._spec.files_version or self._spec.version  # a preset has the files of another model
        return (str(self._files), version, component, self._dtype_name)

    def _remembered(self, component: ComponentName) -> bool:
        """Take the component from the store if it is there; tell whether it was."""
        known = self._store.remembered(self._key(component))
        if known is not None:
            self._taken[component] = known
            self._progress.add(known.facts.nbytes)
        return known is not None

    def _find(self, component: ComponentName) -> _Found:
        """Read the files' headers, allocate a buffer, and begin to populate its pages."""
        opened = [self._opened(path) for path in component_files(self._spec, self._files, component)]
        tensors = self._tensors(component, opened)
        arena = self._store.arena(self._told_nbytes(tensors.values()))
        self._copier.prefault(arena.buffer)
        return _Found(self._key(component), opened, tensors, arena)

    def _opened(self, path: Path) -> SafetensorsFile:
        """Open a file once for all components in it."""
        if path not in self._files_open:
            self._files_open[path] = self._open.enter_context(closing(SafetensorsFile(path)))
        return self._files_open[path]

    @property
    def _dtype_name(self) -> str:
        return str(self._precision.kept).removeprefix("torch.")

    def _tensors(self, component: ComponentName, opened: list[SafetensorsFile]) -> dict[str, Tensor]:
        """Select the tensors of the files that may belong to a component."""
        prefix = PREFIXES[component] if isinstance(self._spec.source, Checkpoint) else ("",)
        named = ((self._rename(name), tensor) for file in opened for name, tensor in file.tensors().items())
        return {name: tensor for name, tensor in named if name.startswith(prefix)}

    def _told_nbytes(self, tensors: Iterable[Tensor]) -> int:
        """Estimate the size of tensors in memory before the network is built, which says it exactly."""
        of_vectors, of_others = self._precision.computed.itemsize, self._precision.kept.itemsize
        return sum(aligned(t.numel() * (of_others if t.ndim > 1 else of_vectors)) for t in tensors)

    def _sources(self, component: ComponentName, module: nn.Module, tensors: dict[str, Tensor]) -> StateDict:
        if isinstance(self._spec.source, Checkpoint):
            weights = component_weights(tensors, component, module)
        else:
            weights = OrderedDict(tensors)
            if isinstance(module, ModelMixin):
                module._fix_state_dict_keys_on_load(weights)  # noqa: SLF001 - renames old VAE keys
        # Making pictures from text needs no encoder, and some files hold none.
        if component == "vae" and not any(name.startswith("encoder.") for name in weights):
            module.register_module("encoder", None)
            module.register_module("quant_conv", None)
        return _aligned(self._spec.name, component, module, weights)

    def _begin(self, component: ComponentName, found: _Found) -> _Started:
        variant = self._variant(component, found.tensors)
        module = build_network(component, self._configs, self._upcaster, variant)
        sources = self._sources(component, module, found.tensors)
        layout, arena = self._layout(module), found.arena
        if not layout.fits(arena.nbytes):
            arena = self._store.arena(layout.nbytes)
        copies = self._copier.start(
            (slot.view(arena.buffer), find_stored(found.files, sources[name])) for name, slot in layout.slots.items()
        )
        facts = Component(id=ComponentId(""), name=component, nbytes=arena.nbytes, dtype=self._dtype_name)
        config = self._config(component, module, variant)
        network = Network(facts, module.eval(), arena, layout, _buffers(module), config)
        network.point_to(arena.buffer)
        return _Started(found.key, network, copies)

    def _config(self, component: ComponentName, module: nn.Module, variant: Mapping[str, Any]) -> Any:
        """Return what networks of equal weights are compared by.

        Of a VAE that is what it was built from, so that one in a file of its own equals that of a model whose config states
        more, such as the size of its training pictures.
        """
        if component != "vae":
            return {**read_config(self._configs, f"{component}/config.json"), **variant}
        built: Any = module.config
        return msgspec.convert({name: built[name] for name in VaeConfig.__struct_fields__}, VaeConfig)

    def _variant(self, component: ComponentName, tensors: dict[str, Tensor]) -> dict[str, Any]:
        """Return what replaces fields of a component's config: what the tensors of a single file say of its UNet."""
        if component in self._variants:
            return dict(self._variants[component])
        source = self._spec.source
        if component != "unet" or not isinstance(source, Checkpoint):
            return {}
        shapes = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
        layers = layers_of_file(shapes) if source.config is None else {}
        return {**layers, **channels_of_file(shapes)}

    def _layout(self, module: nn.Module) -> Layout:
        """Plan the buffer of a network's weights; large ones may be kept in fewer bits than they are computed in."""
        kept, computed = self._precision.kept, self._precision.computed
        narrow = upcast_weights(module)
        return lay_out(module.state_dict().items(), lambda name: kept if name in narrow else computed)


class _Progress:
    """Adds up the bytes of all components and reports the sum to `on_load`."""

    def __init__(self, spec: ModelSpec, on_load: OnLoad) -> None:
        self._on_load = on_load
        self._done = 0
        self._total = spec.nbytes or 0

    def add(self, nbytes: int) -> None:
        self._done += nbytes
        total = max(self._done, self._total)
        self._on_load(LoadProgress(phase="read", done_nbytes=self._done, total_nbytes=total))


def component_files(spec: ModelSpec, files: Path, component: ComponentName) -> list[Path]:
    """List the files that hold the weights of a component.

    Raises:
        NotServable: there are none, or an index cannot be used.
    """
    if isinstance(spec.source, Checkpoint):
        return [files]
    variant = spec.source.variant if isinstance(spec.source, HubRepository) else None
    return weight_files(files / component, variant)


def _aligned(model: str, component: ComponentName, network: nn.Module, weights: StateDict) -> StateDict:
    """Find the source of every weight of a network."""
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
    """Return the name of a weight in the file: transformers 5 dropped the level `text_model.` in places, files may keep it."""
    names = (key, f"text_model.{key}", key.removeprefix("text_model."))
    return next((name for name in names if name in weights), None)


def _told(component: ComponentName, problems: list[str]) -> str:
    shown = "; ".join(problems[:_MAX_NAMED_TENSORS])
    more = f"; and {len(problems) - _MAX_NAMED_TENSORS} more" if len(problems) > _MAX_NAMED_TENSORS else ""
    return (
        f"its {component} does not fit the SDXL configs: {shown}{more}. If it is a variant of SDXL with other sizes, "
        "put its diffusers configs into a folder <name>.config beside the file."
    )


def _buffers(network: nn.Module) -> dict[str, Tensor]:
    """Compute the buffers that no file holds."""
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
