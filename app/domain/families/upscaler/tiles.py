"""The tiles in which a picture is enlarged: how large they are, and how many."""

from collections.abc import Iterator

TILE_PX = 256
"""Side of the tiles of the input. They bound the time between two tiles, after which other requests and cancellation have their
turn; a GPU is busy with one."""
SMALL_TILE_PX = 96
"""Side of the tiles if memory is short."""
OVERLAP_PX = 32
"""Pixels that neighbouring tiles have in common. ESRGAN sees farther in theory; what is farther away changes nothing visible."""


def tile_starts(length_px: int, side_px: int, overlap_px: int = OVERLAP_PX) -> list[int]:
    """Place tiles along a side: the smallest number that overlaps enough, evenly spread from border to border."""
    if side_px >= length_px:
        return [0]
    stride = max(side_px - overlap_px, 1)
    count = -(-(length_px - side_px) // stride) + 1
    return [round(index * (length_px - side_px) / (count - 1)) for index in range(count)]


def tiles_of_pass(width_px: int, height_px: int, side_px: int) -> int:
    """Count the tiles of a picture."""
    return len(tile_starts(width_px, side_px)) * len(tile_starts(height_px, side_px))


def sizes_of_passes(width_px: int, height_px: int, scale: int, passes: int) -> Iterator[tuple[int, int]]:
    """List the width and height of the input of each pass."""
    for done in range(passes):
        yield width_px * scale**done, height_px * scale**done


def side_of(*, small: bool) -> int:
    """Return the side of the tiles of the input in pixels."""
    return SMALL_TILE_PX if small else TILE_PX
