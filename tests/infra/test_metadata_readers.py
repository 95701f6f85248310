"""Programs of other people read the prompt and the settings from our files."""

from pathlib import Path
from typing import Any

import piexif
import piexif.helper
import pytest
from sd_parsers import ParserManager
from sd_prompt_reader.image_data_reader import ImageDataReader

from litestar_diffusion.domain.requests.fields import OutputFormat
from litestar_diffusion.domain.requests.rendering import RawImage
from litestar_diffusion.infra.image_encoding import encode

PROMPT, NEGATIVE = "a red circle, \U0001f534 \u7ea2", "gr\u00fcn"
PARAMETERS = (
    f"{PROMPT}\nNegative prompt: {NEGATIVE}\nSteps: 4, Sampler: Euler, Schedule type: Karras, CFG scale: 7, Seed: 1, "
    "Size: 16x16, Model: demo, RNG: CPU, Version: litestar-diffusion 0.1.0"
)


def written(tmp_path: Path, fmt: OutputFormat) -> str:
    path = tmp_path / f"image.{fmt}"
    path.write_bytes(
        encode(RawImage(width=16, height=16, pixels=bytes(768)), fmt, 95, {"parameters": PARAMETERS, "receipt": "{}"})
    )
    return str(path)


@pytest.mark.parametrize("fmt", ["jpeg", "webp"])
def test_piexif_reads_the_comment(tmp_path: Path, fmt: OutputFormat) -> None:
    exif: dict[str, Any] = piexif.load(written(tmp_path, fmt))
    assert piexif.helper.UserComment.load(exif["Exif"][piexif.ExifIFD.UserComment]) == PARAMETERS


@pytest.mark.parametrize("fmt", ["png", "jpeg", "webp"])
def test_sd_parsers_reads_prompts_and_settings(tmp_path: Path, fmt: OutputFormat) -> None:
    found: Any = ParserManager().parse(written(tmp_path, fmt))
    assert (found.full_prompt, found.full_negative_prompt) == (PROMPT, NEGATIVE)
    sampler = found.samplers[0]
    assert (sampler.name, sampler.parameters["scheduler"], sampler.parameters["seed"]) == ("Euler", "Karras", "1")


@pytest.mark.parametrize("fmt", ["png", "jpeg", "webp"])
def test_sd_prompt_reader_reads_prompts_and_settings(tmp_path: Path, fmt: OutputFormat) -> None:
    found: Any = ImageDataReader(written(tmp_path, fmt))
    assert (found.positive, found.negative) == (PROMPT, NEGATIVE)
    assert (found.parameter["sampler"], found.parameter["steps"], found.parameter["size"]) == ("Euler", "4", "16x16")
