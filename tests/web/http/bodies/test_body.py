"""Bodies as clients send them: packed, marked, in other encodings, with nulls and words spelled their way."""

import base64
import gzip
import json
import os
import time
import typing
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from litestar import Litestar
from litestar.testing import TestClient

from litestar_diffusion import DiffusionConfig, DiffusionPlugin
from litestar_diffusion.domain.requests.parameters import GenerationParameters
from litestar_diffusion.domain.requests.pictures.picture import FileContent
from litestar_diffusion.testing import FakeEngine, fake_services, model
from litestar_diffusion.web.http.bodies.content_encoding import Unpacking
from litestar_diffusion.web.http.bodies.json_fields import json_fields
from litestar_diffusion.web.http.bodies.repeated_names import repeated_names
from tests.load.uploads import noise

BODY = {"prompt": "x"}
TEXT = json.dumps(BODY).encode()
MB = 1_000_000
"""`limits.max_body_bytes`."""


@pytest.fixture(scope="module")
def client() -> Any:
    plugin = DiffusionPlugin(
        DiffusionConfig(build=lambda settings: fake_services(model("demo"), settings=settings, engine=FakeEngine()))
    )
    with TestClient(Litestar(plugins=[plugin])) as running:
        yield running


def send(client: Any, body: bytes | dict[str, Any], **headers: str) -> tuple[int, dict[str, Any]]:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    answer = client.post("/generate/demo", content=content, headers=sent)
    return answer.status_code, answer.json()


def message(client: Any, body: bytes | dict[str, Any], **headers: str) -> str:
    """What a 400 says of the one wrong field."""
    status, problem = send(client, body, **headers)
    assert (status, problem["code"]) == (400, "invalid_request")
    (error,) = problem["errors"]
    return f"{error['field']} {error['message']}"


@pytest.mark.parametrize(
    ("body", "headers"),
    [
        (b"\xef\xbb\xbf" + TEXT, {}),
        (gzip.compress(TEXT, mtime=0), {"content_encoding": "gzip"}),
        (gzip.compress(b"\xef\xbb\xbf" + TEXT, mtime=0), {"content_encoding": " GZIP"}),
        (TEXT, {"content_encoding": "identity"}),
        (b" \n" + TEXT + b"\n", {"content_type": "application/json; charset=utf-8"}),
        (TEXT, {"content_type": ";;"}),
    ],
)
def test_a_byte_order_mark_and_gzip_are_undone(client: Any, body: bytes, headers: dict[str, str]) -> None:
    status, answer = send(client, body, **headers)
    assert (status, answer["parameters"]["prompt"]) == (200, "x")


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-be"])
def test_other_encodings_are_told_to_send_utf_8(client: Any, encoding: str) -> None:
    assert message(client, TEXT.decode().encode(encoding)) == "body is UTF-16 or UTF-32. Send UTF-8"
    assert message(client, '{"prompt": "\xe9"}'.encode("latin-1")).startswith("body is not UTF-8.")


@pytest.mark.parametrize("body", [b"", b" \n", b"\xef\xbb\xbf"])
def test_a_missing_body_is_told_what_to_send(client: Any, body: bytes) -> None:
    assert message(client, body) == 'body is empty. Send an object such as {"prompt": "a red circle"}'


@pytest.mark.parametrize(
    ("text", "name"),
    [
        (b'{"prompt": "x", "seed": 1, "prompt": "y"}', "prompt"),
        (b'{"prompt": "x", "hires": {"scale": 2, "scale": 1.5}}', "scale"),
        (rb'{"prompt": "x", "seed": 1, "s\u0065ed": 1}', "seed"),
        (b'{"prompt": "x", "image": "' + b"A" * 60_000 + b'", "image": "' + b"B" * 60_000 + b'"}', "image"),
        (rb'{"prompt": "' + rb"\\" * 20_000 + rb'\"", "prompt": "y"}', "prompt"),
    ],
    ids=["at the top", "inside", "spelled otherwise", "long", "escaped"],
)
def test_a_name_that_is_stated_twice_is_told(client: Any, text: bytes, name: str) -> None:
    assert message(client, text) == f"{name} is stated twice; a field has one value"


def test_looking_for_names_that_are_stated_twice_takes_no_time() -> None:
    worst = [
        b'{"image": "' + b"A" * 32 * MB + b'"}',
        b'{"image": "' + rb"\"" * 16_000 + b'"}',
        b"[" + b"{}," * 10_900 + b"{}]",
        b'{"a":1,' * 4_600,
        b'"' * MB,
    ]
    for text in worst:
        begun = time.perf_counter()
        assert repeated_names(text) == []
        assert time.perf_counter() - begun < 0.5, text[:20]  # of milliseconds, on a busy machine


def test_a_packed_body_is_held_to_the_limit_and_must_be_whole(client: Any) -> None:
    bomb = gzip.compress(b" " * 50 * MB)
    assert len(bomb) < MB
    assert send(client, bomb, content_encoding="gzip")[0] == 413
    assert "cut short" in message(client, gzip.compress(TEXT)[:-3], content_encoding="gzip")
    assert "is not" in message(client, TEXT, content_encoding="gzip")
    assert "more than one gzip" in message(client, gzip.compress(TEXT) * 2, content_encoding="gzip")
    status, problem = send(client, TEXT, content_encoding="br")
    assert (status, problem["code"]) == (415, "unsupported_media_type")
    assert "gzip" in problem["detail"]


@given(st.integers(0, 3), st.integers(0, 300), st.integers(1, 5000))
def test_a_body_that_is_unpacked_in_pieces_is_whole(blocks: int, more: int, piece: int) -> None:
    """Also if its unpacked size is just that of the parts in which it comes, and most of it lies in few packed bytes."""
    text = b" " * (blocks * 262_144) + bytes(range(256)) * 2 + b"x" * more
    packed, unpacking = gzip.compress(text), Unpacking("gzip", None)
    parts = [part for at in range(0, len(packed), piece) for part in unpacking.feed(packed[at : at + piece])]
    unpacking.end()
    assert b"".join(parts) == text


@pytest.mark.parametrize("side", [8, 64, 400])
def test_a_packed_body_with_a_picture_makes_the_image_that_it_makes_unpacked(client: Any, side: int) -> None:
    body = json.dumps({**BODY, "image": base64.b64encode(noise(1, side)).decode(), "seed": 7}).encode()
    plain, packed = (
        client.post("/generate/demo", content=content, headers=headers).json()
        for content, headers in ((body, {}), (gzip.compress(body), {"content-encoding": "gzip"}))
    )
    assert packed["parameters"] == plain["parameters"]
    assert packed["images"] == plain["images"]


@pytest.mark.parametrize(
    ("sent", "meant"),
    [("jpg", "jpeg"), ("JPG", "jpeg"), ("PNG", "png"), (" Webp ", "webp"), (None, "png")],
)
def test_output_formats_are_known_by_their_usual_names(client: Any, sent: str | None, meant: str) -> None:
    status, answer = send(client, BODY | {"output_format": sent})
    assert (status, answer["parameters"]["output_format"]) == (200, meant)


def test_null_is_as_good_as_absent_for_every_optional_field(client: Any) -> None:
    nulls = dict.fromkeys(GenerationParameters.__struct_encode_fields__)
    assert send(client, nulls | BODY)[0] == 200
    assert message(client, {"prompt": None}) == "prompt expected str, got null"


@pytest.mark.parametrize(
    ("field", "value", "told"),
    [
        ("output_format", "gif", "must be one of 'png', 'jpeg', 'webp', got 'gif'"),
        ("priority", 5, "expected str, got 5"),
        ("previews", "yes", "must be true or false, got 'yes'"),
        ("n", 1.5, "expected int, got 1.5"),
        ("n", True, "expected int, got true"),
        ("", 1, "is not known here."),
        ("seed", 2**64, "seed + n must be at most 2**64, because image i uses seed + i; got 18446744073709551616"),
        ("seed", 10**4200, "seed + n must be at most 2**64"),
    ],
)
def test_wrong_values_are_shown_as_they_were_sent_with_those_allowed(
    client: Any, field: str, value: object, told: str
) -> None:
    text = f'{{"prompt": "x", "{field}": {"1" + "0" * 4200 if value == 10**4200 else json.dumps(value)}}}'
    assert message(client, text.encode()).startswith(f"""{field or '""'} {told}""")


def test_the_largest_seed_is_taken_and_reported(client: Any) -> None:
    status, answer = send(client, BODY | {"seed": 2**64 - 2, "n": 2})
    assert (status, [image["seed"] for image in answer["images"]]) == (200, [2**64 - 2, 2**64 - 1])
    assert send(client, BODY | {"seed": 2**64 - 1, "n": 2})[0] == 400


LONG = {
    "lists": b"[" + b"[]," * 330_000 + b"[]]",
    "deep lists": b"[" + b"[[[[[[]]]]]]," * 70_000 + b"[]]",
    "slow numbers": b"[" + b"1.2345678901234567e-300," * 40_000 + b"1]",
    "one number": b"9" * 900_000,
    "objects": b"[" + b'{"a":[]},' * 100_000 + b"{}]",
}


@contextmanager
def decoded_nbytes(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """Collects the sizes of the texts that are decoded, and not just divided into the texts of their fields."""
    decode, sizes = msgspec.json.decode, list[int]()

    def counting(text: bytes, **options: Any) -> Any:
        if options.get("type") != dict[str, msgspec.Raw]:
            sizes.append(len(text))
        return decode(text, **options)

    with monkeypatch.context() as patched:
        patched.setattr(msgspec.json, "decode", counting)
        yield sizes


@pytest.mark.parametrize("place", ["prompt", "crop", "unknown"])
@pytest.mark.parametrize("kind", LONG)
def test_what_no_field_can_hold_is_never_decoded(
    client: Any, monkeypatch: pytest.MonkeyPatch, kind: str, place: str
) -> None:
    """Decoding a megabyte of these would hold the event loop for up to 0.3 s; skipping it takes 1 to 5 ms."""
    text = b'{"prompt": "x", "%s": %s}' % (place.encode(), LONG[kind])
    with_prompt_last = b'{"%s": %s, "seed": 1}' % (place.encode(), LONG[kind])
    with decoded_nbytes(monkeypatch) as decoded:
        for body in (text, with_prompt_last):
            assert place in typing.cast("dict[str, object]", json_fields(body, GenerationParameters))
    assert sum(decoded) < 1000
    status, problem = send(client, text)
    assert (status, [error["field"] for error in problem["errors"]]) == (400, [place])
    assert len(json.dumps(problem)) < 3000


@pytest.mark.parametrize("kind", LONG)
@pytest.mark.parametrize(
    ("route", "field", "status"),
    [
        ("/sdapi/v1/png-info", "image", 422),
        ("/sdapi/v1/png-info", "unknown", 422),  # because it lacks the image
        ("/sdapi/v1/txt2img", "override_settings", 422),
        ("/sdapi/v1/txt2img", "alwayson_scripts", 422),
        ("/sdapi/v1/options", "unknown", 200),
        ("/v1/images/generations", "size", 400),
    ],
)
def test_bodies_of_other_dialects_are_not_decoded_either(
    client: Any, monkeypatch: pytest.MonkeyPatch, route: str, field: str, status: int, kind: str
) -> None:
    """Also where a field may hold any object, as those of the web UI do."""
    with decoded_nbytes(monkeypatch) as decoded:
        answer = client.post(route, content=b'{"%s": %s}' % (field.encode(), LONG[kind]))
    assert answer.status_code == status
    assert sum(decoded) < 1000
    assert len(answer.content) < 1000


def test_a_hostile_file_of_the_largest_size_is_refused_without_being_decoded(
    client: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """40 MB of small lists would take seconds."""
    lists = b"[" + b"[]," * (40 * MB // 3) + b"[]]"
    for body in (lists, b'{"image": %s}' % lists, b'{"other": %s}' % lists):
        with decoded_nbytes(monkeypatch) as decoded:
            answer = client.post("/sdapi/v1/png-info", content=body)
        assert answer.status_code == 422
        assert sum(decoded) < 1000


@pytest.mark.parametrize(
    ("route", "members"),
    [
        ("/v1/images/generations", {"error"}),
        ("/sdapi/v1/txt2img", {"error", "detail"}),
        ("/sdapi/v1/options", {"error", "detail"}),
    ],
)
def test_a_body_that_is_too_large_is_refused_in_the_shape_of_the_route(
    client: Any, route: str, members: set[str]
) -> None:
    for body in (b"x" * 2 * MB, gzip.compress(b" " * 50 * MB)):
        packed = {"content-encoding": "gzip"} if len(body) < MB else {}
        answer = client.post(route, content=body, headers=packed)
        assert answer.status_code == 413
        assert members <= set(answer.json())
        assert "max_body_bytes" in answer.text


def test_a_list_that_is_too_long_is_told_the_limit(client: Any) -> None:
    answer = client.post("/sdapi/v1/txt2img", content=b'{"override_settings": {"a": %s}}' % LONG["lists"])
    assert "990011 bytes, 100000 at most" in answer.json()["detail"]


def test_long_values_that_a_field_can_hold_are_decoded() -> None:
    class Adapters(msgspec.Struct):
        """A body with a list."""

        names: list[str]
        note: str = ""

    many = [f"adapter {index}" for index in range(1000)]
    text = json.dumps({"names": many, "note": "x" * 5000}).encode()
    assert json_fields(text, Adapters) == {"names": many, "note": "x" * 5000}


def test_a_large_body_may_hold_pictures_and_not_a_million_texts(client: Any) -> None:
    keys = b",".join(b'"k%d":"v"' % number for number in range(200_000))
    answer = client.post("/generate/demo", content=b"{%s}" % keys)
    assert answer.status_code == 400
    assert "has more than 10000 texts" in answer.text


@pytest.mark.parametrize("head", ["", "data:image/png;base64,"])
@pytest.mark.parametrize("nbytes", [10, 800, 12_000, 30_000, 200_000])
def test_lists_of_files_are_read_whatever_their_size_and_spelling(head: str, nbytes: int) -> None:
    class Named(msgspec.Struct):
        """A file with a name."""

        data: Annotated[FileContent, msgspec.Meta(description="A file.")]
        name: str = ""

    class Files(msgspec.Struct):
        """A body with lists of files."""

        files: list[FileContent]
        named: Annotated[list[Named], msgspec.Meta(max_length=9)]

    content = os.urandom(nbytes)
    text = head + base64.b64encode(content).decode()
    body = json.dumps({"files": [text] * 5, "named": [{"data": text, "name": "a"}] * 5}).encode()
    read = msgspec.convert(json_fields(body, Files), Files)
    assert [bytes(file) for file in read.files] == [content] * 5
    assert [(bytes(file.data), file.name) for file in read.named] == [(content, "a")] * 5


@pytest.mark.parametrize("head", ["", "data:image/png;base64,"])
@pytest.mark.parametrize("side_px", [16, 64, 100, 300])
def test_pictures_of_every_size_are_read_in_every_dialect(client: Any, side_px: int, head: str) -> None:
    text = head + base64.b64encode(noise(1, side_px)).decode()
    for route, body in (
        ("/generate/demo", {"image": text}),
        ("/sdapi/v1/img2img", {"init_images": [text], "steps": 4}),
        ("/v1/images/edits", {"image": text}),
    ):
        answer = client.post(route, json={"prompt": "x", **body})
        assert answer.status_code in (200, 201), answer.text[:300]
