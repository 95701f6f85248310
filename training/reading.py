"""Reads a picture back: its background, and each shape's kind, colour and place. This is how models are scored.

Simple on purpose: the median of the border is the background, connected regions that differ from it are figures, and a
figure is the shape whose drawn template covers it best.
"""

from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from .drawing import draw_mask
from .scenes import COLOURS, SHAPES

_SIDE_PX = 48
_DISTINCT = 60.0
"""Smallest RGB distance of a figure's pixel from the background."""
_SMALLEST_SHARE = 0.008
"""Smallest share of a picture that a figure fills."""
Mask = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Seen:
    """One figure; `centre` and `area` are fractions of the picture, `overlap` says how well the shape fits (0 to 1)."""

    shape: str
    colour: str
    centre: tuple[float, float]
    area: float
    overlap: float


@dataclass(frozen=True, slots=True)
class Reading:
    """Background and figures of a picture, the largest figure first."""

    background: str
    figures: tuple[Seen, ...]


def read_picture(picture: Image.Image) -> Reading:
    """Read an RGB picture."""
    pixels = np.asarray(picture.convert("RGB"), dtype=np.float64)
    border = np.concatenate(
        [
            pixels[:4].reshape(-1, 3),
            pixels[-4:].reshape(-1, 3),
            pixels[:, :4].reshape(-1, 3),
            pixels[:, -4:].reshape(-1, 3),
        ]
    )
    background = np.median(border, axis=0)
    distinct: Mask = np.sqrt(((pixels - background) ** 2).sum(axis=2)) > _DISTINCT
    regions = [region for region in _regions(distinct) if region.mean() > _SMALLEST_SHARE]
    regions.sort(key=lambda region: -int(region.sum()))
    return Reading(nearest_colour(background), tuple(_figure(pixels, region) for region in regions))


def nearest_colour(rgb: NDArray[Any]) -> str:
    """Return the palette's name for a colour."""
    return min(COLOURS, key=lambda name: float(((np.array(COLOURS[name]) - rgb) ** 2).sum()))


def _figure(pixels: NDArray[Any], region: Mask) -> Seen:
    rows, columns = np.nonzero(region)
    overlaps = {shape: _overlap(_normalised(region), template) for shape, template in _templates().items()}
    best = max(overlaps, key=lambda shape: overlaps[shape])
    centre = (float(columns.mean() + 0.5) / region.shape[1], float(rows.mean() + 0.5) / region.shape[0])
    return Seen(best, nearest_colour(np.median(pixels[region], axis=0)), centre, float(region.mean()), overlaps[best])


def _regions(mask: Mask) -> list[Mask]:
    """Return the connected regions of a mask (4 neighbours)."""
    left = mask.copy()
    regions: list[Mask] = []
    while left.any():
        row, column = np.argwhere(left)[0]
        regions.append(_flooded(left, int(row), int(column)))
        left &= ~regions[-1]
    return regions


def _flooded(mask: Mask, row: int, column: int) -> Mask:
    region = np.zeros_like(mask)
    open_cells = [(row, column)]
    region[row, column] = True
    while open_cells:
        y, x = open_cells.pop()
        for v, u in ((y - 1, x), (y + 1, x), (y, x - 1), (y, x + 1)):
            if 0 <= v < mask.shape[0] and 0 <= u < mask.shape[1] and mask[v, u] and not region[v, u]:
                region[v, u] = True
                open_cells.append((v, u))
    return region


def _normalised(region: Mask) -> Mask:
    """Cut a region to its bounding box, and stretch that to a square of `_SIDE_PX`."""
    rows, columns = np.nonzero(region)
    box = region[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]
    stretched = Image.fromarray(box.astype(np.uint8) * 255).resize((_SIDE_PX, _SIDE_PX), Image.Resampling.BILINEAR)
    return np.asarray(stretched) > 127


@cache
def _templates() -> dict[str, Mask]:
    return {shape: _normalised(np.asarray(draw_mask(shape, 256, 0.4)) > 127) for shape in SHAPES}


def _overlap(one: Mask, other: Mask) -> float:
    """Return the intersection over union."""
    return float((one & other).sum() / (one | other).sum())
