"""Results of jobs as JSON, without the bytes of their images, and back."""

from collections.abc import Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any, get_type_hints

import msgspec

from ...domain.generator import Generated, GeneratedImage
from ...domain.requests.pictures.picture import Upload
from ...domain.requests.pictures.source import FromImage, FromMaskedImage, FromNoise, Source, without_files
from ...domain.requests.request import GenerationRequest

_SOURCES: dict[str, type[Source]] = {kind.__name__: kind for kind in (FromNoise, FromImage, FromMaskedImage)}


def _with(kind: type, **others: Any) -> type[msgspec.Struct]:
    """Make the stored form of a dataclass, in which some fields have other types: msgspec knows no unions of dataclasses."""
    hints = {**get_type_hints(kind), **others}
    return msgspec.defstruct(
        f"Stored{kind.__name__}", [(each.name, hints[each.name]) for each in fields(kind)], kw_only=True
    )


_STORED_SOURCES: dict[str, type[msgspec.Struct]] = {
    FromNoise.__name__: _with(FromNoise),
    FromImage.__name__: _with(FromImage, image=Upload),
    FromMaskedImage.__name__: _with(FromMaskedImage, image=Upload, mask=Upload),
}
_StoredRequest = _with(GenerationRequest, source=Any)
_StoredImage = _with(GeneratedImage, data=None)
_StoredResult = _with(Generated, request=Any, images=Any)


def encode_result(generated: Generated) -> str:
    """Write a result as JSON. The pixels of uploaded pictures are left out, the digests of their files are kept."""
    images = [_plain(replace(image, data=b"")) for image in generated.images]
    return msgspec.json.encode(
        {
            **_plain(replace(generated, request=_bare(generated.request), images=())),
            "request": _encoded_request(generated.request),
            "images": images,
        }
    ).decode()


def decode_result(text: str, files: Sequence[bytes]) -> Generated:
    """Read a result.

    Args:
        text: as `encode_result` wrote it.
        files: of the images, in order.
    """
    raw = msgspec.json.decode(text)
    stored = _read(raw, _StoredResult)
    images = [_read({**image, "data": None}, _StoredImage) for image in raw["images"]]
    return Generated(
        **{
            **_values(stored),
            "request": _decoded_request(raw["request"]),
            "images": tuple(
                GeneratedImage(**{**_values(image), "data": data}) for image, data in zip(images, files, strict=True)
            ),
        }
    )


def _bare(request: GenerationRequest) -> GenerationRequest:
    return replace(request, source=FromNoise())


def _encoded_request(request: GenerationRequest) -> dict[str, Any]:
    source = without_files(request.source)
    return {**_plain(_bare(request)), "source": {"kind": type(source).__name__, **_plain(source)}}


def _decoded_request(raw: dict[str, Any]) -> GenerationRequest:
    source = dict(raw["source"])
    kind = source.pop("kind")
    restored = _SOURCES[kind](**_values(_read(source, _STORED_SOURCES[kind])))
    return GenerationRequest(**{**_values(_read(raw, _StoredRequest)), "source": restored})


def _plain(value: object) -> dict[str, Any]:
    return msgspec.to_builtins(value, enc_hook=_path_as_text)


def _read(raw: object, kind: type) -> Any:
    return msgspec.convert(raw, kind, dec_hook=_text_as_path)


def _values(stored: msgspec.Struct) -> dict[str, Any]:
    return msgspec.structs.asdict(stored)


def _path_as_text(value: object) -> str:
    if isinstance(value, Path):
        return str(value)
    raise NotImplementedError(type(value))


def _text_as_path(kind: type, value: Any) -> Path:
    if issubclass(kind, Path):
        return Path(value)
    raise NotImplementedError(kind)
