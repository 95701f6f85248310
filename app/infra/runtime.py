"""What runs in the engine's thread: torch and everything that imports it. `engine` imports this module there."""

import gc
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from ..domain.errors import DiffusionError, GenerationFailed, InsufficientMemory, LoadFailed, OutOfMemory
from ..domain.generation import GenerationRequest
from ..domain.model import DtypeName, HubRepository, ModelSpec
from ..domain.ports import LAVISH, Frugality, LoadedModel, OnLoad, OnStep, Rendered
from .device import choose_device, choose_dtype, device_nbytes
from .family import FAMILIES, Family
from .out_of_memory import release_frames
from .peak import Peak, free_nbytes
from .residency import Weights

FetchRepository = Callable[[HubRepository, OnLoad], Path]
"""Makes sure that a repository's files are on disk and returns their folder. Blocks."""


@dataclass(slots=True)
class TorchModel:
    """A model in memory, as the pool holds it."""

    family: Family
    content: Any
    weights: Weights
    nbytes: int


class Runtime:
    """One device. `load` belongs to the loader's thread, everything else to the engine's."""

    def __init__(self, *, device: str, dtype: DtypeName, threads: int, fetch: FetchRepository) -> None:
        if threads:
            torch.set_num_threads(threads)
        self.device = choose_device(device)
        self.threads = torch.get_num_threads()
        self._dtype: DtypeName = dtype
        self._fetch = fetch

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

    def load(self, spec: ModelSpec, on_load: OnLoad) -> TorchModel:
        """Read the weights into host memory, downloading them first where the source is a repository."""
        source = spec.source
        files = self._fetch(source, on_load) if isinstance(source, HubRepository) else source.path
        family = FAMILIES[spec.traits.family]
        try:
            content = family.load(spec, files, self.dtype_of(spec), on_load)
        except OSError as error:
            raise LoadFailed(f"The files of {spec.name!r} could not be read: {error}.") from error
        return TorchModel(
            family=family, content=content, weights=Weights(family.networks(content)), nbytes=content.nbytes
        )

    def place(self, model: LoadedModel) -> None:
        """Copy the weights to the device."""
        try:
            _own(model).weights.to_device(self.device)
            return
        except torch.OutOfMemoryError:
            pass
        raise self._out_of_memory(model.nbytes)

    def offload(self, model: LoadedModel) -> None:
        """Drop the device's copy of the weights."""
        _own(model).weights.to_host()

    def unload(self, model: LoadedModel) -> None:
        """Free the weights. Whoever holds the model still, holds an empty one."""
        own = _own(model)
        own.content, own.weights = None, Weights(())
        self._release_cache()

    def generate(
        self, model: LoadedModel, request: GenerationRequest, on_step: OnStep, frugality: Frugality = LAVISH
    ) -> Rendered:
        """Make the images of a request; every failure comes out as one of the domain's errors, and holds no tensor."""
        own = _own(model)
        peak = Peak(self.device)
        try:
            rendered = own.family.render(own.content, request, on_step, frugality)
            return replace(rendered, activation_nbytes=peak.nbytes())
        except OutOfMemory as failure:
            stage = failure.stage
        except DiffusionError as failure:
            release_frames(failure)
            raise
        except Exception as error:
            release_frames(error)
            raise GenerationFailed(
                f"The image could not be made ({type(error).__name__}). The server's log has the details."
            ) from error
        # Outside the handler: an error that is raised within keeps the one that it came from, its frames and their tensors.
        self._release_cache()
        raise OutOfMemory(stage, free_nbytes(self.device))

    def _out_of_memory(self, needed_nbytes: int) -> InsufficientMemory:
        self._release_cache()
        return InsufficientMemory(
            "The device ran out of memory. Ask for a smaller image, or lower memory.device in the settings.",
            needed_nbytes=needed_nbytes,
            available_nbytes=self.memory_nbytes(),
        )

    def _release_cache(self) -> None:
        gc.collect()
        if self.device.type == "cuda":
            torch.cuda.empty_cache()


def _own(model: LoadedModel) -> TorchModel:
    if not isinstance(model, TorchModel):
        raise TypeError(f"this engine did not load {model!r}")
    return model
