"""The `Engine` port: one device and the one thread that may touch it."""

from collections.abc import Collection
from typing import Protocol

from .models.components import ComponentId, LoadedModel, OnLoad
from .models.spec import ModelSpec
from .requests.rendering import NO_SAVINGS, MemorySavings, OnPreview, OnStep, RenderResult
from .requests.request import GenerationRequest


class Engine(Protocol):
    """One device and the one thread that may touch it. Every method waits for that thread, never for the event loop."""

    @property
    def device(self) -> str:
        """As torch names it: `cpu`, `cuda:0`."""
        ...

    @property
    def shares_host_memory(self) -> bool:
        """Whether the device's memory is the host's, so that `place` and `offload` move nothing (a CPU)."""
        ...

    def memory_nbytes(self) -> int:
        """Bytes of memory of the device. Call after `start`."""
        ...

    def element_nbytes(self, spec: ModelSpec) -> int:
        """Bytes of one number in the dtype that the model runs in here, 2 or 4. Call after `start`."""
        ...

    def weights_nbytes(self, spec: ModelSpec) -> int:
        """Bytes of host memory that loading the model will take, nothing shared, from headers alone. After `start`.

        0 where the files are not on disk yet.
        """
        ...

    async def start(self) -> None:
        """Import what the engine needs and claim the device, once however often it is called; seconds, the first time."""
        ...

    async def fetch(self, spec: ModelSpec, on_load: OnLoad) -> None:
        """Make sure that the model's files are on disk; downloads a repository, does nothing for local files.

        Raises:
            DownloadFailed: the Hub did not deliver.
        """
        ...

    async def load(self, spec: ModelSpec, on_load: OnLoad) -> LoadedModel:
        """Read the weights from disk into host memory; what is in memory already is shared. Needs `fetch` first.

        Raises:
            UnusableModel: the files are broken, or of no family that is served.
            LoadFailed: anything else.
        """
        ...

    async def place(self, components: Collection[ComponentId]) -> None:
        """Copy components from the host to the device; what runs there goes on meanwhile.

        Raises:
            OutOfMemory: all of them stay on the host alone.
        """
        ...

    async def offload(self, components: Collection[ComponentId]) -> None:
        """Drop the device's copies; the host keeps its own, so no byte moves. Never fails."""
        ...

    async def unload(self, model: LoadedModel, *, reuse: bool = False) -> None:
        """Let go of a model's weights, on the device and the host; what others share stays. It is unusable afterwards.

        Args:
            model: what `load` returned.
            reuse: whether the next `load` is about to need the memory, which spares it a first touch of fresh pages.
        """
        ...

    async def generate(
        self,
        model: LoadedModel,
        request: GenerationRequest,
        on_step: OnStep,
        memory_savings: MemorySavings = NO_SAVINGS,
        at_once: int = 1,
        on_preview: OnPreview | None = None,
    ) -> RenderResult:
        """Make the images of a request with a model that is on the device. Leaves the model as it was, whatever happens.

        Requests that are here at the same time, of the same model and size, share each step; what must not share one must
        not be here. Alone and with one image at once, equal requests give equal bytes.

        Args:
            model: what `load` returned.
            request: what to make.
            on_step: hears of each step, in the engine's thread.
            memory_savings: what is saved.
            at_once: how many of its images are made together.
            on_preview: is shown the unfinished image a few times a second.

        Raises:
            Cancelled: `on_step` said so.
            OutOfMemory: nothing is left behind; more frugality may be the cure.
            NotFinite: NaN or Inf in full precision too.
            GenerationFailed: anything else.
        """
        ...

    async def stop(self) -> None:
        """Free the device and end the thread."""
        ...
