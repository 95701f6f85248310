"""What the domain asks of the outside world; `infra` fulfils it, `testing` has fakes."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NewType, Protocol, runtime_checkable

from .generation import GenerationRequest, OutputFormat
from .model import ModelName, ModelSpec, ModelTraits

ComponentId = NewType("ComponentId", str)
"""Stands for content: equal ids mean equal weights, config, dtype and layout."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Component:
    """One network of a model that is in memory."""

    id: ComponentId
    name: str
    """Its role in the model: `unet`, `vae`, `text_encoder`, `text_encoder_2`."""
    nbytes: int
    """Of its weights, on the host and again on the device."""
    dtype: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Frugality:
    """Which of the means that save memory to use while generating. They cost time; tiles also change the image a little."""

    tiled_decode: bool = False
    """Decode the latents in overlapping tiles."""
    split_guidance: bool = False
    """Run the two rows of guidance one after the other."""


LAVISH = Frugality()
"""Nothing saved: as fast as can be."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RawImage:
    """A finished picture: `pixels` holds height x width x 3 bytes, RGB, row by row."""

    width: int
    height: int
    pixels: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """How long steps took in which the denoiser ran so many rows at once."""

    rows: int
    steps: int
    seconds: float
    """Of all these steps together."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rendered:
    """What the engine made of one request: an image for each seed, in order."""

    images: tuple[RawImage, ...]
    warnings: tuple[str, ...]
    encode_s: float
    denoise_s: float
    decode_s: float
    activation_nbytes: int | None = None
    """The peak of memory beside the weights that was observed, in bytes; None where the device does not tell, or where
    others ran beside it."""
    paces: tuple[Pace, ...] = ()
    """Of its steps, by the rows of the batch that it shared."""


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


OnPreview = Callable[[RawImage, int, int], None]
"""Called with a small, rough picture of the first unfinished image, steps done, and steps in all, from the engine thread; must
return at once."""


@runtime_checkable
class LoadedModel(Protocol):
    """A model whose weights are in host memory. Only the engine looks inside."""

    @property
    def components(self) -> Sequence[Component]:
        """Its networks; models with the same weights have components of the same id, which are in memory once."""
        ...


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
            UnusableModel: the files are broken or not SDXL.
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
        frugality: Frugality = LAVISH,
        at_once: int = 1,
        on_preview: OnPreview | None = None,
    ) -> Rendered:
        """Make the images of a request with a model that is on the device. Leaves the model as it was, whatever happens.

        Requests that are here at the same time, of the same model and size, share each step; what must not share one must
        not be here. Alone and with one image at once, equal requests give equal bytes.

        Args:
            model: what `load` returned.
            request: what to make.
            on_step: hears of each step, in the engine's thread.
            frugality: what is saved.
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


@dataclass(frozen=True, slots=True, kw_only=True)
class PromptFacts:
    """A prompt as the text encoders will see it."""

    field: str
    """`prompt`, `prompt_2`, `negative_prompt` or `negative_prompt_2`."""
    tokens: int
    """Of the whole text, start, end and padding apart."""
    chunks: int
    """In which it is read."""
    ignored: tuple[str, ...]
    """What is cut or changed, as ends of sentences that begin with the field's name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SamplerFacts:
    """A sampler as it will run."""

    scheduler: str
    """The class of diffusers."""
    config: Mapping[str, Any]
    """Everything that it goes by."""
    timesteps: tuple[float, ...]
    """One for each evaluation of the denoiser."""
    sigmas: tuple[float, ...] | None
    """Its noise levels, where it counts in them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Inspection:
    """What can be told of a request from a model's configs and tokenizers, before any weight is read."""

    prompts: tuple[PromptFacts, ...]
    sampler: SamplerFacts
    traits: ModelTraits
    """As the engine will take them: a folder's own sampler config is heard too."""
    warnings: tuple[str, ...]
    """Those that the engine would give for the prompts."""


class Inspector(Protocol):
    """Reads requests as the engine would; needs no device and no weights."""

    async def inspect(self, spec: ModelSpec, request: GenerationRequest) -> Inspection:
        """Tokenize the prompts and build the sampler, in a worker thread. SDXL's own configs stand in for missing ones.

        Raises:
            LoadFailed: the model's configs or tokenizers cannot be read.
        """
        ...
