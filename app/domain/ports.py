"""What the domain asks of the outside world; `infra` fulfils it, `testing` has fakes."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from .generation import GenerationRequest, OutputFormat
from .model import ModelName, ModelSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class RawImage:
    """A finished picture: `pixels` holds height x width x 3 bytes, RGB, row by row."""

    width: int
    height: int
    pixels: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Rendered:
    """What the engine made of one request: an image for each seed, in order."""

    images: tuple[RawImage, ...]
    warnings: tuple[str, ...]
    encode_s: float
    denoise_s: float
    decode_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadProgress:
    """How far a load is."""

    phase: str
    """`download`, `read` or `place`."""
    done_nbytes: int
    total_nbytes: int


OnLoad = Callable[[LoadProgress], None]
"""Called from the loading thread; must return at once."""

OnStep = Callable[[int, int], None]
"""Called with (steps done, steps in all) from the engine thread; raises `Cancelled` to stop before the next step."""


@runtime_checkable
class LoadedModel(Protocol):
    """A model whose weights are in memory. Only the engine looks inside."""

    @property
    def nbytes(self) -> int:
        """Bytes of weights."""
        ...


class Engine(Protocol):
    """One device and the one thread that may touch it. Every method waits for that thread, never for the event loop."""

    @property
    def device(self) -> str:
        """As torch names it: `cpu`, `cuda:0`."""
        ...

    @property
    def shares_host_memory(self) -> bool:
        """Whether the device's memory is the host's, so that offloading frees nothing (a CPU)."""
        ...

    def memory_nbytes(self) -> int:
        """Bytes of memory of the device. Call after `start`."""
        ...

    def element_nbytes(self, spec: ModelSpec) -> int:
        """Bytes of one number in the dtype that the model runs in here, 2 or 4. Call after `start`."""
        ...

    async def start(self) -> None:
        """Import what the engine needs and claim the device, once however often it is called; seconds, the first time."""
        ...

    async def load(self, spec: ModelSpec, on_load: OnLoad) -> LoadedModel:
        """Read the weights from disk into host memory, downloading them first where the source is a repository.

        Raises:
            UnusableModel: the files are broken or not SDXL.
            LoadFailed: anything else.
        """
        ...

    async def place(self, model: LoadedModel) -> None:
        """Bring the weights to the device. Mutates the model; a failure leaves it on the host."""
        ...

    async def offload(self, model: LoadedModel) -> None:
        """Drop the device copy of the weights; the host keeps its own. Mutates the model; never fails."""
        ...

    async def unload(self, model: LoadedModel) -> None:
        """Free the weights everywhere. The model is unusable afterwards."""
        ...

    async def generate(self, model: LoadedModel, request: GenerationRequest, on_step: OnStep) -> Rendered:
        """Make the images of a request with a model that is on the device. Leaves the model as it was, whatever happens.

        Raises:
            Cancelled: `on_step` said so.
            NotFinite: NaN or Inf in full precision too.
            GenerationFailed: anything else.
        """
        ...

    async def stop(self) -> None:
        """Free the device and end the thread."""
        ...


@runtime_checkable
class Catalogue(Protocol):
    """The models that exist. Synchronous, reads headers only, milliseconds; callable from any thread."""

    def list(self) -> Sequence[ModelSpec]:
        """Every entry, unusable ones included, in alphabetical order. Notices changes on disk."""
        ...

    def get(self, name: str) -> ModelSpec:
        """The entry of this name.

        Raises:
            UnknownModel: with the names that exist.
        """
        ...

    def mark_unusable(self, name: ModelName, version: str, reason: str) -> None:
        """Remember that this version of the files turned out to be broken."""
        ...


class ImageWriter(Protocol):
    """Encodes pictures for the wire."""

    async def write(self, image: RawImage, fmt: OutputFormat, quality: int, facts: dict[str, str]) -> bytes:
        """Encode one picture with its generation data, in a worker thread.

        Args:
            image: what the engine made.
            fmt: `png`, `jpeg` or `webp`.
            quality: 1 to 100, for jpeg and webp; webp at 100 is lossless.
            facts: text that the file carries: `parameters` and a JSON receipt.
        """
        ...
