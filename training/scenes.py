"""Scenes that training pictures show, and the captions that describe them."""

import hashlib
import random
from dataclasses import dataclass, replace

SHAPES = ("circle", "square", "triangle", "star", "heart", "ring", "cross", "diamond")
COLOURS: dict[str, tuple[int, int, int]] = {
    "red": (220, 30, 35),
    "green": (30, 160, 60),
    "blue": (35, 70, 215),
    "yellow": (250, 215, 30),
    "orange": (250, 135, 20),
    "purple": (130, 45, 165),
    "pink": (250, 145, 190),
    "black": (20, 20, 20),
    "white": (248, 248, 248),
    "gray": (130, 130, 130),
}
PLACES: dict[str, tuple[float, float]] = {
    "in the center": (0.5, 0.5),
    "on the left": (0.3, 0.5),
    "on the right": (0.7, 0.5),
    "at the top": (0.5, 0.3),
    "at the bottom": (0.5, 0.7),
    "in the top left corner": (0.3, 0.3),
    "in the top right corner": (0.7, 0.3),
    "in the bottom left corner": (0.3, 0.7),
    "in the bottom right corner": (0.7, 0.7),
}
CENTER = "in the center"
_HELD_OUT_SHARE = 8
"""One in eight combinations of shape, colour and background is held out of training."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One shape in one colour; `radius` and `centre` are fractions of the picture's shorter side and of its sides."""

    shape: str
    colour: str
    radius: float
    centre: tuple[float, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """A background with one or two figures, and the plainest sentence that describes them."""

    background: str
    figures: tuple[Figure, ...]
    caption: str


def held_out(shape: str, colour: str, background: str) -> bool:
    """Return whether a combination is held out of training; the same on all machines."""
    digest = hashlib.sha256(f"{shape} {colour} {background}".encode()).digest()
    return digest[0] % _HELD_OUT_SHARE == 0


def training_scene(rng: random.Random) -> Scene:
    """Draw a random scene without held-out figures."""
    kind = rng.random()
    background = rng.choice(list(COLOURS))
    if kind < 0.12:
        return _pair(rng, background)
    figure = _figure(rng, background)
    if kind < 0.62:
        return Scene(background=background, figures=(figure,), caption=_plain(rng, figure, background))
    if kind < 0.80:
        place = rng.choice(list(PLACES))
        placed = replace(figure, radius=rng.uniform(0.19, 0.23), centre=_near(rng, PLACES[place]))
        return Scene(background=background, figures=(placed,), caption=f"{_plain(rng, placed, background)} {place}")
    size, radius = rng.choice((("small", rng.uniform(0.16, 0.20)), ("large", rng.uniform(0.38, 0.43))))
    sized = replace(figure, radius=radius)
    caption = f"a {size} {figure.colour} {figure.shape} on a {background} background"
    return Scene(background=background, figures=(sized,), caption=caption)


def held_out_scenes(count: int, seed: int = 1) -> list[Scene]:
    """Return scenes of one held-out figure each: plain ones first, then large ones."""
    combinations = [
        (shape, colour, background)
        for shape in SHAPES
        for colour in COLOURS
        for background in COLOURS
        if colour != background and held_out(shape, colour, background)
    ]
    random.Random(seed).shuffle(combinations)
    scenes = [
        _centred(*combination, size, radius)
        for size, radius in (("", 0.31), ("large ", 0.4))
        for combination in combinations
    ]
    return scenes[:count]


def _centred(shape: str, colour: str, background: str, size: str, radius: float) -> Scene:
    figure = Figure(shape=shape, colour=colour, radius=radius, centre=(0.5, 0.5))
    caption = f"a {size}{colour} {shape} on a {background} background"
    return Scene(background=background, figures=(figure,), caption=caption)


def _figure(rng: random.Random, background: str) -> Figure:
    while True:
        shape, colour = rng.choice(SHAPES), rng.choice(list(COLOURS))
        if colour != background and not held_out(shape, colour, background):
            return Figure(shape=shape, colour=colour, radius=rng.uniform(0.30, 0.33), centre=_near(rng, (0.5, 0.5)))


def _pair(rng: random.Random, background: str) -> Scene:
    first, second = _figure(rng, background), _figure(rng, background)
    word, (one, two) = rng.choice(
        (
            ("above", ((0.5, 0.28), (0.5, 0.72))),
            ("below", ((0.5, 0.72), (0.5, 0.28))),
            ("left of", ((0.28, 0.5), (0.72, 0.5))),
            ("right of", ((0.72, 0.5), (0.28, 0.5))),
        )
    )
    radius = rng.uniform(0.18, 0.2)
    figures = replace(first, radius=radius, centre=one), replace(second, radius=radius, centre=two)
    caption = f"a {first.colour} {first.shape} {word} a {second.colour} {second.shape} on a {background} background"
    return Scene(background=background, figures=figures, caption=caption)


def _plain(rng: random.Random, figure: Figure, background: str) -> str:
    """Return the plain sentence three times in four, otherwise another form; some forms leave out a colour."""
    thing = f"{figure.colour} {figure.shape}"
    others = (
        f"{thing} on {background}",
        f"a drawing of a {thing} on a {background} background",
        f"a {thing}",
        f"a {figure.shape} on a {background} background",
    )
    plain = f"a {thing} on a {background} background"
    return plain if rng.random() < 0.75 else rng.choice(others)


def _near(rng: random.Random, place: tuple[float, float]) -> tuple[float, float]:
    return place[0] + rng.uniform(-0.01, 0.01), place[1] + rng.uniform(-0.01, 0.01)
