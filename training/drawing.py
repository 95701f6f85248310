"""Draws scenes: at four times the size, then shrunk, so that edges are smooth."""

import math
from collections.abc import Mapping
from dataclasses import replace

from PIL import Image, ImageDraw

from .scenes import COLOURS, Figure, Scene

_SUPERSAMPLING = 3
_HOLLOW = 0.62
"""Size of the hollow inside of an outlined figure, relative to the figure: the line is as wide as two latents."""
Point = tuple[float, float]


def draw(
    scene: Scene, width_px: int = 128, height_px: int = 128, colours: Mapping[str, tuple[int, int, int]] = COLOURS
) -> Image.Image:
    """Draw the picture of a scene, RGB."""
    scale = _SUPERSAMPLING
    large = Image.new("RGB", (width_px * scale, height_px * scale), colours[scene.background])
    canvas = ImageDraw.Draw(large)
    for figure in scene.figures:
        _draw_figure(canvas, figure, colours[figure.colour], colours[scene.background], large.size)
    return large.resize((width_px, height_px), Image.Resampling.BOX)


def draw_outlines(scene: Scene, width_px: int = 128, height_px: int = 128) -> Image.Image:
    """Draw the picture of a scene with hollow figures, RGB."""
    inner = tuple(replace(figure, radius=figure.radius * _HOLLOW, colour=scene.background) for figure in scene.figures)
    figures = tuple(part for pair in zip(scene.figures, inner, strict=True) for part in pair)
    return draw(replace(scene, figures=figures), width_px, height_px)


def draw_mask(shape: str, side_px: int, radius: float, centre: Point = (0.5, 0.5)) -> Image.Image:
    """Draw a single shape in white on black, for templates."""
    mask = Image.new("L", (side_px, side_px), 0)
    figure = Figure(shape=shape, colour="white", radius=radius, centre=centre)
    _draw_figure(ImageDraw.Draw(mask), figure, 255, 0, mask.size)
    return mask


def _draw_figure(
    canvas: ImageDraw.ImageDraw,
    figure: Figure,
    colour: tuple[int, int, int] | int,
    background: tuple[int, int, int] | int,
    size: tuple[int, int],
) -> None:
    radius = figure.radius * min(size)
    x, y = figure.centre[0] * size[0], figure.centre[1] * size[1]
    if figure.shape in ("circle", "ring"):
        canvas.ellipse((x - radius, y - radius, x + radius, y + radius), fill=colour)
        if figure.shape == "ring":
            hole = radius * 0.55
            canvas.ellipse((x - hole, y - hole, x + hole, y + hole), fill=background)
        return
    canvas.polygon([(x + radius * u, y + radius * v) for u, v in _outline(figure.shape)], fill=colour)


def _outline(shape: str) -> list[Point]:
    """Return the corners of a shape around the origin, within the unit circle or a little beyond."""
    if shape == "square":
        return [(-0.86, -0.86), (0.86, -0.86), (0.86, 0.86), (-0.86, 0.86)]
    if shape == "triangle":
        return [(0, -1), (1, 0.8), (-1, 0.8)]
    if shape == "diamond":
        return [(0, -1.1), (0.8, 0), (0, 1.1), (-0.8, 0)]
    if shape == "cross":
        a, b = 0.33, 1.0
        return [
            (-a, -b),
            (a, -b),
            (a, -a),
            (b, -a),
            (b, a),
            (a, a),
            (a, b),
            (-a, b),
            (-a, a),
            (-b, a),
            (-b, -a),
            (-a, -a),
        ]
    if shape == "star":
        return [_polar(1.1 if i % 2 == 0 else 0.45, math.pi * (i / 5 - 0.5)) for i in range(10)]
    if shape == "heart":
        return [_heart(2 * math.pi * i / 60) for i in range(60)]
    raise ValueError(f"no outline for {shape!r}")


def _polar(radius: float, angle: float) -> Point:
    return radius * math.cos(angle), radius * math.sin(angle)


def _heart(t: float) -> Point:
    y = 13 * math.cos(t) - 5 * math.cos(2 * t) - 2 * math.cos(3 * t) - math.cos(4 * t)
    return 16 * math.sin(t) ** 3 / 16.5, -(y + 2.5) / 15
