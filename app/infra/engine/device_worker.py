"""The runtime in the engine's thread: torch and everything that imports it. `engine_threads` imports this module there."""

import gc
import traceback
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from ...domain.errors import (
    DeviceLost,
    DiffusionError,
    GenerationFailed,
    LoadFailed,
    OutOfMemory,
    UnusableAdapter,
    UnusableModel,
    UnusableVae,
)
from ...domain.families.reading import NotServable
from ...domain.models.adapters import AdapterSpec
from ...domain.models.assets import AssetSpec
from ...domain.models.components import Component, ComponentId, LoadedModel, OnLoad
from ...domain.models.spec import DtypeName, HubRepository, ModelSpec
from ...domain.models.vaes import VaeSpec
from ...domain.requests.render_request import RenderRequest
from ...domain.requests.rendering import GiveWay, MemorySavings, OnPreview, OnStep, ParkedRun, RenderResult, stay
from ..device.cpu_threads import multiplications, threads_for, usable_cpus
from ..device.device import device_nbytes, enter, use_device
from ..device.loss import is_lost
from ..device.malloc import give_back_freed_memory
from ..device.out_of_memory import is_out_of_memory, without_frames
from ..device.peak_memory import Peak, free_nbytes
from ..device.precision import Precision, computed_in, precision_of
from ..device.timer import Stopwatch
from ..device.transfer import Mover
from ..diffusion.fast_layers.upcasting import Upcaster
from ..diffusion.load_context import Loading
from ..weights.safetensors_header import BrokenFile
from ..weights.twin_store import TwinStore
from .family import FamilyRuntime, runtime_named, runtime_of
from .shared_host import SharedHost
from .step_loop import Stepper, Work

_THREADS = torch.get_num_threads()
"""Threads that torch chooses. Read at import, because a number that is set later for one thread is inherited by new threads."""

FetchRepository = Callable[[HubRepository, OnLoad], Path]
"""Makes sure that a repository's files are on disk and returns their folder. Blocks."""


@dataclass(slots=True, eq=False)
class TorchModel:
    """A model or an adapter in memory, as the pool holds it."""

    family: FamilyRuntime
    networks: Any
    components: tuple[Component, ...]
    dtype: str
    """Dtype that it computes in, as torch names it; empty for an adapter."""


class Runtime:
    """One device. `load` and `unload` belong to the loader's thread, `prepare` to the helper, everything else to the engine's."""

    def __init__(
        self,
        *,
        device: str,
        dtype: DtypeName,
        threads: int,
        fetch: FetchRepository,
        prompt_cache_nbytes: int = 64 * 1024**2,
        host: SharedHost | None = None,
    ) -> None:
        """Claim a device, in the engine's thread; `host` is what it shares with other devices of the machine."""
        host = host or SharedHost(names=(device,), dtype=dtype)
        self.device = use_device(device)
        self.name = device if host.several else str(self.device)
        self.lost: DeviceLost | None = None
        """Set for good once the device answers no call any more."""
        self.threads = threads or max(1, min(_THREADS, usable_cpus()) // len(host.names))
        # A thread takes the process's number at its first question; after that, other threads do not change it any more.
        torch.get_num_threads()
        torch.set_num_threads(self.threads)
        self._threads_fixed = bool(threads)
        self._dtype: DtypeName = dtype
        self._fetch = fetch
        upcaster = Upcaster()
        self._store = TwinStore(host.store, {"upcaster": upcaster}, host.lock) if host.several else host.store
        self._loading = Loading(store=self._store, upcaster=upcaster, prompt_cache_nbytes=prompt_cache_nbytes)
        self._mover = Mover(self.device)
        self._snapshots = host.snapshots
        self._weights = host.weights
        self._stepper = Stepper(
            stopwatch=Stopwatch(self.device),
            new_peak=lambda: Peak(self.device),
            set_threads=self._set_threads,
            failure_of=self._failure_of,
        )

    def memory_nbytes(self) -> int:
        """Return the size of the device's memory in bytes."""
        return device_nbytes(self.device)

    def computed_in(self, spec: ModelSpec | None = None) -> torch.dtype:
        """Return the dtype that a model computes in here; without a model, that of models whose entry names none."""
        return computed_in(self._dtype_name(spec), self.device)

    def weights_nbytes(self, spec: AssetSpec) -> int:
        """Estimate the bytes that loading takes; 0 if they are unknown before a load."""
        if not isinstance(spec, ModelSpec):
            return spec.numbers * self.computed_in().itemsize
        try:
            return self._precision_and_nbytes(spec)[1]
        except (BrokenFile, NotServable, LoadFailed):
            return 0

    def fetch(self, spec: ModelSpec, on_load: OnLoad) -> None:
        """Download a repository, or find it downloaded. Any thread."""
        if isinstance(spec.source, HubRepository):
            self._snapshots[spec.source] = self._fetch(spec.source, on_load)

    def load(self, spec: ModelSpec, on_load: OnLoad) -> TorchModel:
        """Read the weights into host memory; what is in memory already is shared."""
        files, family = self._files(spec), runtime_of(spec)
        try:
            precision, _ = self._precision_and_nbytes(spec)
            give_back_freed_memory()
            networks = family.load(spec, files, precision, on_load, self._loading)
        except (BrokenFile, NotServable) as error:
            raise UnusableModel(spec.name, str(error)) from error
        except OSError as error:
            raise LoadFailed(f"The files of {spec.name!r} could not be read: {error}.") from error
        dtype = str(precision.computed).removeprefix("torch.")
        return TorchModel(family=family, networks=networks, components=networks.components, dtype=dtype)

    def load_adapter(self, spec: AdapterSpec, on_load: OnLoad) -> TorchModel:
        """Read an adapter into host memory, in the dtype that most models here compute in: then no use of it converts it."""
        assert spec.reading is not None
        family = runtime_named(spec.reading.family)
        dtype = computed_in(self._dtype, self.device)
        try:
            networks = family.load_adapter(spec, dtype, on_load, self._loading)
        except (BrokenFile, NotServable) as error:
            raise UnusableAdapter(spec.name, str(error)) from error
        except OSError as error:
            raise LoadFailed(f"The file of adapter {spec.name!r} could not be read: {error}.") from error
        return TorchModel(family=family, networks=networks, components=networks.components, dtype="")

    def load_vae(self, spec: VaeSpec, on_load: OnLoad) -> TorchModel:
        """Read a VAE into host memory, in the dtype of models whose entry names none."""
        assert spec.reading is not None
        family = runtime_named(spec.reading.family)
        precision = Precision.of(computed_in(self._dtype, self.device))
        try:
            networks = family.load_vae(spec, precision, on_load, self._loading)
        except UnusableModel as error:
            raise UnusableVae(spec.name, error.reason) from error
        except (BrokenFile, NotServable) as error:
            raise UnusableVae(spec.name, str(error)) from error
        except OSError as error:
            raise LoadFailed(f"The file of VAE {spec.name!r} could not be read: {error}.") from error
        return TorchModel(family=family, networks=networks, components=networks.components, dtype="")

    def prepare(self, components: Collection[ComponentId]) -> None:
        """Build the networks that `place` will copy to the device, and page-lock them: both take long. Helper thread."""
        networks = self._store.named(components)
        if self.device.type == "cuda":
            enter(self.device)
            for network in networks:
                network.arena.pin()

    def drop_orphans(self) -> None:
        """Drop the networks of this device whose weights have left host memory."""
        if isinstance(self._store, TwinStore):
            self._store.drop_orphans()

    def place(self, components: Collection[ComponentId]) -> None:
        """Copy components to the device, while requests run there."""
        try:
            self._mover.place(self._store.named(components))
            return
        except Exception as error:
            self._note_loss(error)
            if self.lost is not None:
                raise self.lost.with_traceback(None) from None
            if not is_out_of_memory(error):
                raise
        self._release_cache()
        raise OutOfMemory("place", free_nbytes(self.device))

    def arrived(self) -> None:
        """Block until the copies that `place` has begun are complete. Any thread."""
        try:
            self._mover.wait()
        except Exception as error:
            self._note_loss(error)
            if self.lost is not None:
                raise self.lost.with_traceback(None) from None
            raise

    def offload(self, components: Collection[ComponentId]) -> None:
        """Drop the device's copies."""
        self._mover.offload(self._store.named(components))

    def unload(self, model: LoadedModel, reuse: bool) -> None:
        """Free the weights that no other model has. References to the model are left with an empty one."""
        own = _own(model)
        own.networks = None
        self._store.release(own.components, reuse=reuse)
        if self.device.type == "cuda":
            self._release_cache()
        give_back_freed_memory()

    def join(
        self,
        model: LoadedModel,
        request: RenderRequest,
        on_step: OnStep,
        memory_savings: MemorySavings,
        at_once: int,
        on_preview: OnPreview | None,
        adapters: Sequence[LoadedModel] = (),
        vae: LoadedModel | None = None,
        give_way: GiveWay = stay,
        parked: ParkedRun | None = None,
    ) -> "Future[RenderResult | ParkedRun]":
        """Let a request join the running ones at the next step. Any thread; `step` does the work."""
        own = _own(model)
        weights = sum(component.nbytes for component in own.components) // self._element_nbytes(own)
        work = Work(
            family=own.family,
            networks=own.networks,
            weights=weights,
            request=request,
            on_step=on_step,
            memory_savings=memory_savings,
            at_once=at_once,
            dtype=own.dtype,
            on_preview=on_preview,
            adapters=[_own(adapter).networks for adapter in adapters],
            vae=None if vae is None else _own(vae).networks,
            give_way=give_way,
        )
        if parked is not None:
            work.go_on_from(parked)
        self._stepper.add(work)
        return work.result

    def step(self) -> bool:
        """Take the running requests one step further. Returns whether any is left."""
        return self._stepper.turn()

    def abandon(self, failure: DiffusionError) -> None:
        """Fail all running requests."""
        self._stepper.abandon(failure)

    def _failure_of(self, error: Exception) -> DiffusionError:
        """Make an error of the domain from any failure; it holds no tensor."""
        self._note_loss(error)
        if self.lost is not None:
            return without_frames(self.lost)
        if isinstance(error, OutOfMemory):
            without_frames(error)
            self._release_cache()
            return OutOfMemory(error.stage, free_nbytes(self.device))
        if isinstance(error, DiffusionError):
            return without_frames(error)
        failure = GenerationFailed(
            f"The image could not be made ({type(error).__name__}). The server's log has the details."
        )
        failure.add_note("".join(traceback.format_exception(error)))  # for the log
        return failure

    def _note_loss(self, error: Exception) -> None:
        """Look, after an unexpected error, whether the device still answers."""
        if self.lost is None and not isinstance(error, DiffusionError) and is_lost(self.device):
            self.lost = DeviceLost(self.name, str(error).partition("\n")[0])
            self.lost.add_note("".join(traceback.format_exception(error)))  # for the log

    def _set_threads(self, works: Sequence[Work]) -> None:
        """Choose CPU threads by the size of the work, unless the settings fix them."""
        if self.device.type == "cpu" and not self._threads_fixed:
            work = sum(multiplications(work.request, work.weights, work.at_once, work.family.cell_px) for work in works)
            torch.set_num_threads(threads_for(work, self.threads))

    @staticmethod
    def _element_nbytes(model: TorchModel) -> int:
        return max((getattr(torch, part.dtype).itemsize for part in model.components), default=4)

    def _dtype_name(self, spec: ModelSpec | None) -> DtypeName:
        return self._dtype if spec is None or spec.dtype == "auto" else spec.dtype

    def _precision_and_nbytes(self, spec: ModelSpec) -> tuple[Precision, int]:
        """Return a model's precision and the bytes of its weights, from headers that are read once a version.

        Raises:
            LoadFailed: its files are not there.
            BrokenFile: one of them is damaged.
            NotServable: some are missing.
        """
        files = self._files(spec)
        version, weights = self._weights.get(files, (None, None))
        if weights is None or version != spec.version:
            weights = runtime_of(spec).weight_summary(spec, files)
            self._weights[files] = spec.version, weights
        precision = precision_of(self._dtype_name(spec), self.device, weights)
        return precision, precision.nbytes(weights)

    def _files(self, spec: ModelSpec) -> Path:
        if not isinstance(spec.source, HubRepository):
            return spec.source.path
        files = self._snapshots.get(spec.source)
        if files is None:
            raise LoadFailed(f"The files of {spec.name!r} are not on disk. Ask again, and they will be downloaded.")
        return files

    def _release_cache(self) -> None:
        gc.collect()
        if self.device.type == "cuda" and self.lost is None:
            torch.cuda.empty_cache()


def _own(model: LoadedModel) -> TorchModel:
    if not isinstance(model, TorchModel):
        raise TypeError(f"this engine did not load {model!r}")
    return model
