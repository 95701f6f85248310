"""The LoRA that ships: with it the demo model draws outlines, which pixels show."""

from dataclasses import replace

import numpy as np
import pytest

from litestar_diffusion.infra.sdxl.run import SdxlBatchedForward, SdxlRun
from tests.adapters import loaded, spec_of_adapter, use_of
from tests.infra.sdxl.test_parity import model_named, spec_named
from tests.infra.sdxl.test_render import MODELS, pixels, request
from training.reading import nearest_colour

OUTLINE = MODELS / "loras" / "outline.safetensors"
MIDDLE = slice(60, 68)


def painted(prompt: str, weight: float) -> np.ndarray:
    plain = request(spec_named("demo"), prompt=prompt, seed=3)
    asked = replace(plain, assets=replace(plain.assets, adapters=(use_of(OUTLINE, weight),)))
    run, forward = SdxlRun(model_named("demo"), asked, adapters=[loaded(OUTLINE)]), SdxlBatchedForward()
    while not run.finished:
        assert not forward.step([run])
        while run.decoding:
            run.decode_next()
    return pixels(run.images[0])


@pytest.mark.parametrize(
    ("prompt", "figure", "background"),
    [
        ("a red circle on a white background", "red", "white"),
        ("a blue square on a yellow background", "blue", "yellow"),
        ("a green heart on a pink background", "green", "pink"),
    ],
)
def test_with_it_figures_are_hollow_and_without_it_filled(prompt: str, figure: str, background: str) -> None:
    filled, hollow = painted(prompt, 0.0), painted(prompt, 1.0)
    middles = [picture[MIDDLE, MIDDLE].reshape(-1, 3).mean(axis=0) for picture in (filled, hollow)]
    assert nearest_colour(middles[0]) == figure
    inside, colours = np.linalg.norm(middles[1] - hollow[:8, :8].reshape(-1, 3).mean(axis=0)), middles[1] - middles[0]
    assert inside < np.linalg.norm(colours), "the middle is more like the background than like the filled figure"
    for picture in (filled, hollow):
        assert nearest_colour(picture[:8, :8].reshape(-1, 3).mean(axis=0)) == background
        of_figure = [nearest_colour(pixel) == figure for pixel in picture.reshape(-1, 3)[::7]]
        assert np.mean(of_figure) > 0.04, "the line has the figure's colour"


def test_half_of_its_weight_changes_less_than_all_of_it() -> None:
    none, half, whole = (painted("a red circle on a white background", weight).astype(float) for weight in (0, 0.5, 1))
    assert np.abs(half - none).mean() > 2
    assert np.abs(half - none).mean() < np.abs(whole - none).mean()


def test_its_file_is_small_and_says_what_it_is() -> None:
    spec = spec_of_adapter(OUTLINE)
    assert spec.nbytes < 300_000
    reading = spec.reading
    assert reading is not None
    assert (reading.format, reading.algorithms, reading.components) == ("kohya", ("lora",), ("unet",))
    assert reading.title == "Outline drawings for the demo models"
    assert reading.trigger_words == ("an outline of",)
