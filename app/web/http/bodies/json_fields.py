"""Decodes a JSON object field by field, so that no body holds the event loop: what no field can hold is never decoded.

A megabyte of lists or numbers takes msgspec 300 ms to decode, and 1 ms to skip.
"""

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from types import UnionType
from typing import Annotated, Any, Union, cast, get_args, get_origin

import msgspec

from ....domain.requests.pictures.picture import FileContent
from ....domain.validation import respelled
from .json_files import Files

UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""What msgspec raises for a text that is no JSON, or not the JSON that is wanted."""
_SMALL_NBYTES = 1024
"""Values of any kind are decoded up to this size."""
_LARGE_NBYTES = 100_000
"""Lists and objects beyond this are not decoded, also in places that could hold them: the slowest take 0.3 ms a kilobyte."""
_SHOWN_NBYTES = 100
_NO_FILES: Files = {}


@dataclass(frozen=True, slots=True)
class _Undecoded:
    """A long list, object or number in a place that cannot hold it, or a very long one in any. Errors show its beginning."""

    raw: bytes

    def __repr__(self) -> str:
        size = f"{len(self.raw)} bytes, {_LARGE_NBYTES} at most: " if len(self.raw) > _LARGE_NBYTES else ""
        return size + self.raw[:_SHOWN_NBYTES].decode(errors="replace")


def json_fields(text: bytes, struct: type[msgspec.Struct], files: Files = _NO_FILES) -> object:
    """Decode a JSON text that should be an object with the fields of a Struct.

    null is dropped if the field may be absent; words are spelled as the field's type spells them.

    Args:
        text: the JSON, with marks in the place of files.
        struct: with the fields.
        files: the files by their marks.

    Raises:
        msgspec.DecodeError, UnicodeDecodeError, RecursionError: it is no JSON.
    """
    try:
        raws = msgspec.json.decode(text, type=dict[str, msgspec.Raw])
    except msgspec.ValidationError:  # it is JSON, but no object
        return _value(text.strip(), Any)
    return _fields(raws, struct, files)


def _fields(raws: Mapping[str, msgspec.Raw], struct: type[msgspec.Struct], files: Files) -> Mapping[str, object]:
    fields = dict.fromkeys(raws)  # unknown names are errors in any case; there may be 100,000
    for field in msgspec.structs.fields(struct):
        name = field.encode_name
        if name not in raws:
            continue
        value = _value(bytes(raws[name]), field.type)
        if value is None and not field.required:
            del fields[name]
        else:
            fields[name] = respelled(_with_files(value, field.type, files), field.type)
    return fields


def _with_files(value: object, declared: Any, files: Files) -> object:
    """Put files in the place of their marks, and take the heads of data URLs off; also inside of lists and objects."""
    match value:
        case str() if value in files:
            # In a place of text it was none, and the text is wrong for another reason: it is too long.
            return files[value] if _holds_bytes(declared) else base64.b64encode(files[value]).decode()
        case str():
            return bare_base64(value, declared)
        case list() if _holds_bytes(declared):
            return [_with_files(item, declared, files) for item in cast("list[object]", value)]
        case dict() if _holds_bytes(declared):
            items = cast("dict[str, object]", value).items()
            return {name: _with_files(item, declared, files) for name, item in items}
        case _:
            return value


def bare_base64(value: object, declared: Any) -> object:
    """Return the base64 of a data URL if the field holds bytes; everything else is returned as it is."""
    if not isinstance(value, str) or not value.startswith("data:") or not _holds_bytes(declared):
        return value
    head, comma, content = value.partition(",")
    return content if comma and head.endswith(";base64") else value


def _holds_bytes(declared: Any) -> bool:
    if isinstance(declared, type) and issubclass(declared, msgspec.Struct):
        return any(_holds_bytes(field.type) for field in msgspec.structs.fields(declared))
    return declared is FileContent or any(map(_holds_bytes, get_args(declared)))


def _value(raw: bytes, declared: Any) -> object:
    if len(raw) <= _SMALL_NBYTES or raw.startswith(b'"'):
        return msgspec.json.decode(raw)
    if declared is not Any and (len(raw) <= _LARGE_NBYTES or _is_list_of_files(declared)):
        try:
            return msgspec.json.decode(raw, type=_as_texts(declared) if _holds_bytes(declared) else declared)
        except UNREADABLE:
            pass
    return _Undecoded(raw)


def _is_list_of_files(declared: Any) -> bool:
    """Tell whether a field holds a list with files, whose texts in base64 take no time to decode."""
    inner = get_args(declared)[:1] if get_origin(declared) is Annotated else ()
    return any(map(_is_list_of_files, inner)) or (get_origin(declared) is list and _holds_bytes(declared))


def _as_texts(declared: Any) -> Any:
    """Return the type of JSON that a type with files is sent as: their texts may be data URLs, or marks."""
    origin, arguments = get_origin(declared), get_args(declared)
    if declared is FileContent:
        return str
    if isinstance(declared, type) and issubclass(declared, msgspec.Struct):
        return dict[str, str | int | float | bool | None]
    if origin is Annotated:
        return _as_texts(arguments[0])
    if origin is list:
        return list[_as_texts(arguments[0])]
    if origin in (Union, UnionType):
        return Union[tuple(map(_as_texts, arguments))]  # noqa: UP007 - the members are known at run time only
    return declared
