"""The reader of pictures, which scores the models, is itself right."""

import random

import pytest
from PIL import Image

from training.drawing import draw
from training.reading import read_picture
from training.scenes import COLOURS, SHAPES, held_out, held_out_scenes, training_scene


def test_real_drawings_are_read_right() -> None:
    scenes = held_out_scenes(100)
    wrong: list[str] = []
    for scene in scenes:
        reading, wanted = read_picture(draw(scene)), scene.figures[0]
        seen = [(figure.shape, figure.colour) for figure in reading.figures]
        if reading.background != scene.background or seen != [(wanted.shape, wanted.colour)]:
            wrong.append(f"{scene.caption}: {reading}")
    assert len(scenes) == 100
    assert len(wrong) <= 2, wrong


def test_small_placed_and_paired_figures_are_found_where_they_are() -> None:
    rng = random.Random(3)
    for scene in [training_scene(rng) for _ in range(40)]:
        figures = read_picture(draw(scene)).figures
        assert len(figures) == len(scene.figures), scene.caption
        for wanted in scene.figures:
            assert any(
                abs(figure.centre[0] - wanted.centre[0]) < 0.12 and abs(figure.centre[1] - wanted.centre[1]) < 0.12
                for figure in figures
            ), scene.caption


@pytest.mark.parametrize("colour", COLOURS)
def test_an_empty_picture_has_a_background_and_no_figures(colour: str) -> None:
    reading = read_picture(Image.new("RGB", (64, 96), COLOURS[colour]))
    assert (reading.background, reading.figures) == (colour, ())


def test_held_out_captions_never_occur_in_training() -> None:
    rng = random.Random(0)
    trained = [training_scene(rng) for _ in range(5000)]
    assert not {scene.caption for scene in trained} & {scene.caption for scene in held_out_scenes(100)}
    assert not any(held_out(f.shape, f.colour, scene.background) for scene in trained for f in scene.figures)


def test_every_shape_and_colour_is_trained_and_tested() -> None:
    rng = random.Random(0)
    for scenes in ([training_scene(rng) for _ in range(2000)], held_out_scenes(100)):
        assert {figure.shape for scene in scenes for figure in scene.figures} == set(SHAPES)
        assert {figure.colour for scene in scenes for figure in scene.figures} == set(COLOURS)
