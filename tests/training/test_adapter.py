"""The recipe of the LoRA that ships."""

import random

import numpy as np
import torch

from training.adapter import LowRank, resized
from training.drawing import draw, draw_outlines
from training.scenes import SHAPES, Figure, Scene, training_scene


def test_fewer_ranks_keep_the_largest_part_of_the_product() -> None:
    draw_ = torch.Generator().manual_seed(0)
    down, up = torch.randn(4, 6, 3, 3, generator=draw_), torch.randn(8, 4, 1, 1, generator=draw_)
    whole = up.flatten(1) @ down.flatten(1)
    errors = []
    for rank in (1, 2, 4):
        narrow_down, narrow_up = resized(down, up, rank)
        assert (narrow_down.shape, narrow_up.shape) == ((rank, 6, 3, 3), (8, rank, 1, 1))
        errors.append((narrow_up.flatten(1) @ narrow_down.flatten(1) - whole).norm().item())
    assert errors[0] > errors[1] > errors[2]
    assert errors[2] < 1e-4


def test_a_new_lora_changes_nothing() -> None:
    layer, inputs = torch.nn.Conv2d(4, 8, 3, padding=1), torch.randn(1, 4, 5, 5)
    before = layer(inputs)
    LowRank(layer)
    assert torch.equal(layer(inputs), before)


def test_outlines_are_hollow_in_the_colour_of_the_background() -> None:
    for shape in SHAPES:
        figure = Figure(shape=shape, colour="red", radius=0.3, centre=(0.5, 0.5))
        scene = Scene(background="white", figures=(figure,), caption="")
        filled, hollow = (np.asarray(make(scene)).astype(int) for make in (draw, draw_outlines))
        assert hollow[64, 64].min() > 240
        assert (hollow.sum() - filled.sum()) > 0
    assert draw_outlines(training_scene(random.Random(1)), 96, 128).size == (96, 128)
