"""Results of rendering, and the port that encodes pictures."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from .early_end import Ending
from .fields import OutputFormat
from .pictures.source import Latents


@dataclass(frozen=True, slots=True, kw_only=True)
class MemorySavings:
    """Means of saving memory while generating. They cost time; tiles also change the image a little."""

    tiled_decode: bool = False
    """Decode the latents in overlapping tiles."""
    small_tiles: bool = False
    """Enlarge pictures in smaller tiles than usual."""
    split_guidance: bool = False
    """Run the rows of guidance one after the other."""


NO_SAVINGS = MemorySavings()
"""No savings: the fastest way."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RawImage:
    """A finished picture: `pixels` holds height x width x 3 bytes, RGB, row by row."""

    width: int
    height: int
    pixels: bytes

    @property
    def is_of_one_colour(self) -> bool:
        """Whether all pixels are equal, which no model does on purpose."""
        first = self.pixels[:3]
        # The first row tells of nearly all; comparing all pixels of 2048 x 2048 would keep the event loop waiting for 7 ms.
        return self.pixels.startswith(first * self.width) and self.pixels == first * (self.width * self.height)


@dataclass(frozen=True, slots=True, kw_only=True)
class StepTiming:
    """Duration of the steps in which the denoiser ran a number of rows at once."""

    rows: int
    steps: int
    seconds: float
    """Seconds of all these steps together."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RenderResult:
    """Images of one request, one for each seed, in order; if it has ended early, those of its first seeds."""

    images: tuple[RawImage, ...]
    """Empty if the request becomes latents."""
    warnings: tuple[str, ...]
    encode_s: float
    denoise_s: float
    decode_s: float
    activation_nbytes: int | None = None
    """Observed peak of memory beside the weights, in bytes; None if the device does not report it, or if other requests ran at
    the same time."""
    step_timings: tuple[StepTiming, ...] = ()
    """Timings of its steps, by the rows of the batch."""
    unfinished: frozenset[int] = frozenset()
    """Places of the images that ended before their last step."""
    latents: tuple[Latents, ...] = ()
    """Latents of each image in the order of the seeds, if the request becomes latents."""
    dtype: str = ""
    """Dtype that they were computed in, as torch names it; empty if it is not known."""


@dataclass(frozen=True, slots=True, eq=False)
class ParkedRun:
    """A request that left the device between two steps, to be continued there by the engine that made it."""

    state: object


OnStep = Callable[[int, int], Ending | None]
"""Called with (steps done, steps in all) from the engine thread; raises `Cancelled` to stop before the next step, or returns
what is to end now with what is denoised so far."""


GiveWay = Callable[[], bool]
"""Tells between two steps whether a request should leave the device; called from the engine thread, must return at once."""


def stay() -> bool:
    """Never give way."""
    return False


OnPreview = Callable[[RawImage, int, int], None]
"""Called with a small, rough picture of the first unfinished image, steps done, and steps in all, from the engine thread; must
return at once."""


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
