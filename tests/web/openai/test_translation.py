"""Bodies of OpenAI's API in this server's terms."""

from pathlib import Path

import pytest

from litestar_diffusion.domain.errors import InvalidRequest
from litestar_diffusion.domain.models.spec import FewStep, Folder, ModelName, ModelOverrides, ModelSpec, ModelTraits
from litestar_diffusion.web.openai.translation import translated
from litestar_diffusion.web.openai.wire import ImagesBody, Quality

MODEL = ModelSpec(
    name=ModelName("demo"), source=Folder(path=Path("demo")), traits=ModelTraits(size_px=1024), version="1"
)
OWN = ModelSpec(
    name=ModelName("own"),
    source=Folder(path=Path("own")),
    traits=ModelTraits(size_px=1024),
    version="1",
    overrides=ModelOverrides(num_inference_steps=11),
)
TURBO = ModelSpec(
    name=ModelName("turbo"),
    source=Folder(path=Path("turbo")),
    traits=ModelTraits(size_px=512, few_step=FewStep(kind="turbo", steps=4)),
    version="1",
)


@pytest.mark.parametrize(
    ("quality", "model", "steps"),
    [
        (None, MODEL, None), ("auto", MODEL, None), ("standard", MODEL, None), ("medium", MODEL, None),
        ("low", MODEL, 13), ("high", MODEL, 38), ("hd", MODEL, 38), ("max", MODEL, 50), ("xhigh", MODEL, 50),
        ("low", OWN, 6), ("hd", TURBO, None),
    ],
)  # fmt: skip
def test_quality_is_a_share_of_the_models_own_steps(
    quality: Quality | None, model: ModelSpec, steps: int | None
) -> None:
    found = translated(ImagesBody(prompt="x", quality=quality), model)
    assert found.parameters.num_inference_steps == steps


def test_stated_steps_win_over_quality() -> None:
    body = ImagesBody(prompt="x", quality="low", num_inference_steps=30)
    assert translated(body, MODEL).parameters.num_inference_steps == 30


@pytest.mark.parametrize(("size", "expected"), [(None, (None, None)), ("auto", (None, None)), ("64x128", (64, 128))])
def test_sizes(size: str | None, expected: tuple[int | None, int | None]) -> None:
    parameters = translated(ImagesBody(prompt="x", size=size), MODEL).parameters
    assert (parameters.width, parameters.height) == expected


@pytest.mark.parametrize("size", ["0x64", "64", "64x", "large", "1024*1024", "-1x64", "64x64x64", "9" * 6 + "x8"])
def test_other_sizes_are_refused(size: str) -> None:
    with pytest.raises(InvalidRequest, match="must be like 1024x1024 or auto"):
        translated(ImagesBody(prompt="x", size=size), MODEL)


def test_compression_is_the_quality_of_the_file() -> None:
    assert translated(ImagesBody(prompt="x", output_format="webp"), MODEL).parameters.output_quality == 100
    body = ImagesBody(prompt="x", output_format="jpeg", output_compression=0)
    assert translated(body, MODEL).parameters.output_quality == 1


def test_what_has_no_effect_is_told() -> None:
    body = ImagesBody(prompt="x", background="transparent", output_compression=50)
    warnings = translated(body, MODEL, unknown=("user", "style")).warnings
    assert any("user, style" in line for line in warnings)
    assert any("background is opaque" in line for line in warnings)
    assert any("output_compression has no effect" in line for line in warnings)
    assert translated(ImagesBody(prompt="x"), MODEL).warnings == ()
