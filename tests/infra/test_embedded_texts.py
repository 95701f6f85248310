"""Generation data are found in the files of this server, of the web UI, of ComfyUI and of InvokeAI."""

import asyncio
import io
import json
import struct
import zlib
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from sd_parsers import ParserManager

from litestar_diffusion.domain.errors import InvalidRequest
from litestar_diffusion.domain.requests.fields import OutputFormat
from litestar_diffusion.domain.requests.metadata.generation_data import read_generation_data
from litestar_diffusion.domain.requests.metadata.infotext import Infotext, read_infotext
from litestar_diffusion.domain.requests.rendering import RawImage
from litestar_diffusion.infra.embedded_texts import PillowEmbeddedTexts, embedded_texts
from litestar_diffusion.infra.image_encoding import encode

WEB_UI = (
    "a cat, (red:1.2)\nsecond line\nNegative prompt: dog\nSteps: 20, Sampler: DPM++ 2M, Schedule type: Karras, CFG scale: 7, "
    'Seed: 42, Size: 512x768, Model hash: 31e35c80fc, Model: sd_xl, TI hashes: "a: b, c: d", Version: v1.10.1'
)
COMFYUI = {
    "3": {
        "class_type": "KSampler",
        "inputs": {
            "seed": ["9", 0], "steps": 20, "cfg": 8.0, "sampler_name": "dpmpp_2m", "scheduler": "karras", "denoise": 1.0,
            "model": ["10", 0], "positive": ["6", 0], "negative": ["7", 0], "latent_image": ["5", 0],
        },
    },
    "4": {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": "sd_xl_base.safetensors"}},
    "5": {"class_type": "EmptyLatentImage", "inputs": {"width": 512, "height": 768, "batch_size": 1}},
    "6": {"class_type": "CLIPTextEncode", "inputs": {"text": ["11", 0], "clip": ["4", 1]}},
    "7": {"class_type": "CLIPTextEncode", "inputs": {"text": "dog", "clip": ["4", 1]}},
    "9": {"class_type": "PrimitiveInt", "inputs": {"value": 42}},
    "10": {"class_type": "LoraLoader", "inputs": {"lora_name": "x", "model": ["4", 0], "clip": ["4", 1]}},
    "11": {"class_type": "PrimitiveString", "inputs": {"value": "a cat"}},
}  # fmt: skip
INVOKEAI = {
    "generation_mode": "sdxl_txt2img", "positive_prompt": "a cat", "negative_prompt": "dog", "width": 512, "height": 768,
    "seed": 42, "cfg_scale": 7.5, "steps": 20, "scheduler": "dpmpp_2m", "model": {"name": "sd_xl", "base": "sdxl"},
}  # fmt: skip
INVOKEAI_2 = {
    "model_weights": "sd_xl",
    "image": {
        "prompt": [{"prompt": "a cat [dog]", "weight": 1.0}], "steps": 20, "cfg_scale": 7.5, "sampler": "k_dpmpp_2m",
        "seed": 42, "width": 512, "height": 768,
    },
}  # fmt: skip
COMMAND = '"a cat [dog]" -s 20 -S 42 -W 512 -H 768 -C 7.5 -A k_dpmpp_2m'


def png(**texts: str) -> bytes:
    chunks, buffer = PngInfo(), io.BytesIO()
    for key, text in texts.items():
        chunks.add_itxt(key, text)
    Image.new("RGB", (16, 16)).save(buffer, "PNG", pnginfo=chunks)
    return buffer.getvalue()


def found_in(data: bytes) -> Infotext:
    found = read_generation_data(embedded_texts(data))[1]
    assert found is not None
    return found


@pytest.mark.parametrize(
    "texts",
    [
        {"prompt": json.dumps(COMFYUI), "workflow": "{}"},
        {"invokeai_metadata": json.dumps(INVOKEAI), "invokeai_graph": "{}"},
        {"sd-metadata": json.dumps(INVOKEAI_2), "Dream": COMMAND},
        {"Dream": COMMAND},
    ],
    ids=["ComfyUI", "InvokeAI 3", "InvokeAI 2", "InvokeAI 1"],
)
def test_another_programs_data_become_the_web_uis(texts: dict[str, str]) -> None:
    found = found_in(png(**texts))
    assert (found.prompt, found.negative_prompt) == ("a cat", "dog")
    fields = found.fields
    assert [fields[name] for name in ("Steps", "Sampler", "Seed")] == ["20", "DPM++ 2M", "42"]
    assert (fields["Size-1"], fields["Size-2"]) == ("512", "768")
    assert read_infotext(str(found)) == found


def test_comfyui_s_schedule_and_model_are_found_along_the_links(tmp_path: Path) -> None:
    data = png(prompt=json.dumps(COMFYUI), workflow="{}")
    fields = found_in(data).fields
    assert (fields["Schedule type"], fields["CFG scale"]) == ("Karras", "8")
    assert fields["Model"] == "sd_xl_base.safetensors"


def test_the_web_uis_text_is_read_as_its_own_parser_does() -> None:
    fields = found_in(png(parameters=WEB_UI)).fields
    assert fields["Prompt"] == "a cat, (red:1.2)\nsecond line"
    assert fields["Negative prompt"] == "dog"
    assert (fields["Schedule type"], fields["Size-1"], fields["TI hashes"]) == ("Karras", "512", "a: b, c: d")


@pytest.mark.parametrize("fmt", ["png", "jpeg", "webp"])
def test_our_own_files_are_read_in_every_format(fmt: OutputFormat, tmp_path: Path) -> None:
    facts = {"parameters": WEB_UI.replace("cat", "cat \U0001f431"), "litestar-diffusion": "{}"}
    data = encode(RawImage(width=16, height=16, pixels=bytes(768)), fmt, 95, facts)
    assert asyncio.run(PillowEmbeddedTexts().read(data))["parameters"] == facts["parameters"]
    path = tmp_path / f"image.{fmt}"
    path.write_bytes(data)
    theirs: Any = ParserManager().parse(str(path))
    assert found_in(data).prompt == theirs.full_prompt


def test_comfyui_s_data_in_exif_are_read() -> None:
    exif, buffer = Image.Exif(), io.BytesIO()
    exif[0x0110] = f"prompt:{json.dumps(COMFYUI)}"
    exif[0x010F] = "workflow:{}"
    Image.new("RGB", (16, 16)).save(buffer, "WEBP", exif=exif)
    assert found_in(buffer.getvalue()).prompt == "a cat"


@pytest.mark.parametrize(
    "texts",
    [
        {},
        {"prompt": "[]"},
        {"prompt": json.dumps({"1": {"inputs": {"positive": ["1", 0], "negative": [], "steps": 1}}})[:-1]},
        {"prompt": "[" * 10_000},
        {"invokeai_metadata": "{}", "sd-metadata": "3", "Dream": "x"},
    ],
)
def test_texts_of_no_known_form_are_no_generation_data(texts: dict[str, str]) -> None:
    assert read_generation_data(texts) == ("", None)


def test_a_graph_that_leads_in_a_circle_ends() -> None:
    circle = {"1": {"inputs": {"positive": ["1", 0], "negative": ["1", 0], "steps": 3, "model": ["1", 0]}}}
    found = read_generation_data({"prompt": json.dumps(circle)})[1]
    assert found is not None
    assert found.prompt == ""


@pytest.mark.parametrize("text", ["Steps: " + "a" * 200_000, 'Steps: 1, "' * 20_000, "Steps: " + " " * 200_000, ""])
def test_long_lines_take_no_long_time(text: str) -> None:
    assert len(read_infotext(text).settings) < 50_000


def huge_png() -> bytes:
    """A PNG that says 60,000 x 60,000 pixels, and holds none."""
    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"tEXt", b"parameters\0a cat\nSteps: 1"), (b"IDAT", b""), (b"IEND", b"")]
    body = b"".join(
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data)) for name, data in chunks
    )
    return b"\x89PNG\r\n\x1a\n" + body


def test_the_size_of_a_picture_costs_nothing() -> None:
    assert found_in(huge_png()).settings == {"Steps": "1"}


@pytest.mark.parametrize(
    "data",
    [
        b"", b"GIF89a", b"\x89PNG\r\n\x1a\n", b"\x89PNG\r\n\x1a\n" + b"\xff" * 100, b"\xff\xd8", b"\xff\xd8\xff\xe1\xff\xff",
    ],
)  # fmt: skip
def test_a_damaged_file_is_refused(data: bytes) -> None:
    with pytest.raises(InvalidRequest, match="image: is no PNG, JPEG or WebP file"):
        embedded_texts(data)


@pytest.mark.filterwarnings("ignore:Corrupt EXIF data:UserWarning")
def test_a_damaged_webp_is_refused_or_has_no_texts() -> None:
    for end in (
        b"",
        b"EXIF",
        b"EXIF\xff\xff\xff\xff",
        b"EXIF\x06\0\0\0Exif\0\0",
        b"EXIF\x08\0\0\0II*\0\xff\xff\xff\xff",
    ):
        try:
            assert embedded_texts(b"RIFF\0\0\0\0WEBP" + end) == {}
        except InvalidRequest:
            continue
