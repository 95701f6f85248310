"""What runs in the engine's thread: torch and everything that imports it. `engine` imports this module there."""

import gc
import traceback
from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from ..domain.checkpoint import NotServable
from ..domain.errors import DiffusionError, GenerationFailed, LoadFailed, OutOfMemory
from ..domain.generation import GenerationRequest
from ..domain.model import DtypeName, HubRepository, ModelSpec
from ..domain.ports import LAVISH, Component, ComponentId, Frugality, LoadedModel, OnLoad, OnStep, Rendered
from .device import choose_device, choose_dtype, device_nbytes
from .family import FAMILIES, Family
from .filling import ReadBy
from .header import BrokenFile
from .mover import Mover
from .out_of_memory import is_out_of_memory, without_frames
from .peak import Peak, free_nbytes
from .store import ComponentStore
from .threads import threads_for

FetchRepository = Callable[[HubRepository, OnLoad], Path]
"""Makes sure that a repository's files are on disk and returns their folder. Blocks."""


@dataclass(slots=True, eq=False)
class TorchModel:
    """A model in memory, as the pool holds it."""

    family: Family
    content: Any
    components: tuple[Component, ...]


class Runtime:
    """One device. `load` and `unload` belong to the loader's thread, everything else to the engine's."""

    def __init__(
        self, *, device: str, dtype: DtypeName, threads: int, fetch: FetchRepository, read_by: ReadBy = "plain"
    ) -> None:
        if threads:
            torch.set_num_threads(threads)
        self.device = choose_device(device)
        self.threads = torch.get_num_threads()
        self._threads_fixed = bool(threads)
        self._dtype: DtypeName = dtype
        self._fetch = fetch
        self._read_by: ReadBy = read_by
        self._store = ComponentStore()
        self._mover = Mover(self.device)
        self._snapshots: dict[HubRepository, Path] = {}

    @property
    def default_dtype(self) -> str:
        """The dtype of models that name none of their own."""
        return str(choose_dtype(self._dtype, self.device)).removeprefix("torch.")

    def memory_nbytes(self) -> int:
        """Bytes of memory of the device."""
        return device_nbytes(self.device)

    def dtype_of(self, spec: ModelSpec) -> torch.dtype:
        """The dtype that a model runs in here."""
        return choose_dtype(self._dtype if spec.dtype == "auto" else spec.dtype, self.device)

    def weights_nbytes(self, spec: ModelSpec) -> int:
        """Bytes that loading will take; 0 where that cannot be told before it is tried."""
        files = self._files(spec)
        if files is None:
            return 0
        try:
            elements = FAMILIES[spec.traits.family].elements(spec, files)
        except (BrokenFile, NotServable):
            return 0
        return elements * self.dtype_of(spec).itemsize

    def fetch(self, spec: ModelSpec, on_load: OnLoad) -> None:
        """Download a repository, or find it downloaded. Any thread."""
        if isinstance(spec.source, HubRepository):
            self._snapshots[spec.source] = self._fetch(spec.source, on_load)

    def load(self, spec: ModelSpec, on_load: OnLoad) -> TorchModel:
        """Read the weights into host memory; what is in memory already is shared."""
        files = self._files(spec)
        if files is None:
            raise LoadFailed(f"The files of {spec.name!r} are not on disk. Ask again, and they will be downloaded.")
        family = FAMILIES[spec.traits.family]
        try:
            content = family.load(spec, files, self.dtype_of(spec), on_load, self._store, self._read_by)
        except OSError as error:
            raise LoadFailed(f"The files of {spec.name!r} could not be read: {error}.") from error
        return TorchModel(family=family, content=content, components=content.components)

    def place(self, components: Collection[ComponentId]) -> None:
        """Copy components to the device, while what runs there goes on."""
        try:
            self._mover.place(self._store.named(components))
            return
        except Exception as error:
            if not is_out_of_memory(error):
                raise
        self._release_cache()
        raise OutOfMemory("place", free_nbytes(self.device))

    def arrived(self) -> None:
        """Block until the copies that `place` has begun are complete. Any thread."""
        self._mover.wait()

    def offload(self, components: Collection[ComponentId]) -> None:
        """Drop the device's copies."""
        self._mover.offload(self._store.named(components))

    def unload(self, model: LoadedModel, reuse: bool) -> None:
        """Free the weights that no other model has. Whoever holds the model still, holds an empty one."""
        own = _own(model)
        own.content = None
        self._store.release(own.components, reuse=reuse)
        if self.device.type == "cuda":
            self._release_cache()

    def generate(
        self, model: LoadedModel, request: GenerationRequest, on_step: OnStep, frugality: Frugality = LAVISH
    ) -> Rendered:
        """Make the images of a request; every failure comes out as one of the domain's errors, and holds no tensor."""
        own = _own(model)
        self._set_threads(own, request)
        peak = Peak(self.device)
        try:
            rendered = own.family.render(own.content, request, on_step, frugality)
            return replace(rendered, activation_nbytes=peak.nbytes())
        except OutOfMemory as error:
            failure = OutOfMemory(error.stage)
        except DiffusionError as error:
            failure = without_frames(error)
        except Exception as error:
            failure = GenerationFailed(
                f"The image could not be made ({type(error).__name__}). The server's log has the details."
            )
            failure.add_note("".join(traceback.format_exception(error)))  # for the log
        # Raised outside the handlers: within, it would hold the error that it came from, with all frames and tensors.
        if isinstance(failure, OutOfMemory):
            self._release_cache()
            failure.free_nbytes = free_nbytes(self.device)
        raise failure

    def _set_threads(self, model: TorchModel, request: GenerationRequest) -> None:
        """Only where the CPU does the work, and nobody has said how many threads it shall use."""
        if self.device.type == "cpu" and not self._threads_fixed:
            weights = sum(component.nbytes for component in model.components) // self._element_nbytes(model)
            torch.set_num_threads(threads_for(request, weights, self.threads))

    @staticmethod
    def _element_nbytes(model: TorchModel) -> int:
        return getattr(torch, model.components[0].dtype).itemsize

    def _files(self, spec: ModelSpec) -> Path | None:
        return self._snapshots.get(spec.source) if isinstance(spec.source, HubRepository) else spec.source.path

    def _release_cache(self) -> None:
        gc.collect()
        if self.device.type == "cuda":
            torch.cuda.empty_cache()


def _own(model: LoadedModel) -> TorchModel:
    if not isinstance(model, TorchModel):
        raise TypeError(f"this engine did not load {model!r}")
    return model
