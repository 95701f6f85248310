"""Files are taken out of a JSON body while it arrives; what the decoder sees afterwards is the same."""

import asyncio
import base64
import json
import os
import time
from itertools import pairwise
from typing import Any

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from litestar_diffusion.domain.requests.pictures.picture import FileContent
from litestar_diffusion.web.http.bodies.json_fields import json_fields
from litestar_diffusion.web.http.bodies.json_files import LONG_NBYTES, WHOLE_BODY, JSONReading

FILE = os.urandom(2 * LONG_NBYTES + 1)
LARGE = os.urandom(1_500_000)
TEXT = base64.b64encode(FILE).decode()


class Item(msgspec.Struct):
    data: FileContent = b""


class Body(msgspec.Struct):
    prompt: str = ""
    image: FileContent | None = None
    images: list[FileContent] = []
    items: list[Item] = []


def read(body: bytes, cuts: tuple[int, ...] = ()) -> JSONReading:
    async def scenario() -> JSONReading:
        reading = JSONReading()
        for begin, end in pairwise((0, *sorted(cuts), len(body))):
            await reading.feed(body[begin:end])
        await reading.end()
        reading.close()
        return reading

    return asyncio.run(scenario())


def fields(reading: JSONReading) -> Any:
    return json_fields(bytes(reading.text), Body, reading.files)


BODIES = {
    "plain": json.dumps({"prompt": "x", "image": TEXT}).encode(),
    "data URL": json.dumps({"image": f"data:image/png;base64,{TEXT}", "prompt": 'a "b" \\'}).encode(),
    "as PHP writes it": json.dumps({"image": TEXT}).replace("/", "\\/").encode(),
    "short texts with backslashes": json.dumps({"prompt": 'a\\"b\\\\" \\ ' * 9000, "image": TEXT}).encode(),
    "lists and objects": json.dumps({"images": [TEXT, "YWJj"], "items": [{"data": TEXT}]}).encode(),
}


@example("plain", [1])
@example("as PHP writes it", [2])
@example("data URL", [1, 2, 3, 4])
@given(st.sampled_from(sorted(BODIES)), st.lists(st.integers(0, len(BODIES["plain"]) - 1), max_size=5))
def test_files_are_those_of_the_body_however_it_is_cut(name: str, cuts: list[int]) -> None:
    reading = read(BODIES[name], tuple(cuts))
    assert len(reading.text) < len(BODIES[name]) - len(TEXT) + 100
    body = msgspec.convert(fields(reading), Body)
    found = [body.image, *body.images, *(item.data for item in body.items)]
    assert [bytes(file) for file in found if file is not None and len(file) > 3] == [FILE] * len(reading.files)
    assert reading.files
    assert body.prompt == json.loads(BODIES[name]).get("prompt", "")


@pytest.mark.parametrize(
    "text",
    [
        TEXT[:-1],
        TEXT[:-8] + "!" + TEXT[-7:],
        TEXT + "AAAA=",
        TEXT[:40] + "\n" + TEXT[40:],
        "word " * 20_000,
        TEXT[:-4] + "=",
    ],
    ids=["length", "late letter", "padding", "line break", "words", "padding too early"],
)
def test_a_text_that_is_no_base64_stays_as_it_is(text: str) -> None:
    body = json.dumps({"image": text}).encode()
    reading = read(body, tuple(range(0, len(body), 10_001)))
    assert bytes(reading.text) == body
    assert not reading.files


def test_a_hundred_thousand_short_texts_are_not_looked_at_one_by_one() -> None:
    body = json.dumps({f"k{index}": index for index in range(100_000)}).encode()
    begun = time.thread_time()
    assert bytes(read(body).text) == body
    assert time.thread_time() - begun < 0.1


def test_a_long_text_in_a_field_for_text_is_the_text() -> None:
    found = fields(read(json.dumps({"prompt": "abcd" * LONG_NBYTES}).encode()))
    assert found["prompt"] == "abcd" * LONG_NBYTES


def test_what_is_no_json_object_stays_as_it_is() -> None:
    for body in (
        b"picture \\/ " + TEXT.encode(),
        b"\x89P",
        b'["' + TEXT.encode() + b'"]',
        BODIES["plain"].decode().encode("utf-16"),
    ):
        assert bytes(read(body).text) == body


@pytest.mark.parametrize("head", [b"\x89PNG", b"\xff\xd8\xff", b"RIFF", b"GIF8"])
@given(cuts=st.lists(st.integers(0, 40), max_size=4))
def test_a_body_that_is_a_picture_is_a_file_however_it_is_cut(head: bytes, cuts: list[int]) -> None:
    reading = read(head + LARGE, tuple(cuts))
    assert bytes(reading.files[WHOLE_BODY]) == head + LARGE
    assert isinstance(reading.files[WHOLE_BODY], memoryview), "it is on disk"
    assert 3 <= len(reading.text) <= 4, "what a decoder of JSON refuses"


def test_a_large_file_is_a_view_of_a_file_on_disk() -> None:
    reading = read(json.dumps({"image": base64.b64encode(LARGE).decode()}).encode(), tuple(range(0, 2_000_000, 65_536)))
    body = msgspec.convert(fields(reading), Body)
    assert isinstance(body.image, memoryview)
    assert type(body.image.obj).__name__ == "mmap"
    assert body.image == LARGE
