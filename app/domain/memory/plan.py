"""The memory plan of a request."""

from dataclasses import dataclass
from typing import Literal

from ..requests.rendering import MemorySavings

Fallback = Literal["drop_idle", "one_by_one", "tiled_decode", "small_tiles", "split_guidance"]


_WARNINGS: dict[Fallback, str] = {
    "tiled_decode": "The image was decoded in overlapping tiles, which changes it a little: memory was short, or it is larger "
    "than a CPU decodes in one piece (dispatch.whole_decode_px).",
    "small_tiles": "Memory was short: the picture was enlarged in smaller tiles, which changes it a little.",
    "split_guidance": "Memory was short: the rows of guidance ran one after the other, which takes longer.",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How a request begins: what it saves from the start, and the bytes that its lease reserves."""

    memory_savings: MemorySavings
    activation_nbytes: int
    step_nbytes: int = 0
    """Part of them that one image takes while it is denoised; images that are denoised together add up."""
    room_nbytes: int = 2**62
    """Bytes that the budget leaves beside the model's weights."""


def warnings(savings: tuple[Fallback, ...]) -> tuple[str, ...]:
    """Warn the client of fallbacks that change the image or take time."""
    return tuple(_WARNINGS[fallback] for fallback in savings if fallback in _WARNINGS)


def saved(memory_savings: MemorySavings) -> tuple[Fallback, ...]:
    """List the fallbacks that savings stand for."""
    taken: dict[Fallback, bool] = {
        "tiled_decode": memory_savings.tiled_decode,
        "small_tiles": memory_savings.small_tiles,
        "split_guidance": memory_savings.split_guidance,
    }
    return tuple(fallback for fallback, done in taken.items() if done)
