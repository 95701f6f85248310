"""Decodes a JSON object field by field, so that no body holds the event loop: what no field can hold is never decoded.

A megabyte of lists or numbers takes msgspec 300 ms to decode, and 1 ms to skip.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, get_args

import msgspec

from ...domain.validation import respelled

UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""What msgspec raises for a text that is no JSON, or not the JSON that is wanted."""
_SMALL_NBYTES = 1024
"""Values of any kind are decoded up to this size."""
_LARGE_NBYTES = 100_000
"""Lists and objects beyond this are not decoded, also in places that could hold them: the slowest take 0.3 ms a kilobyte."""
_SHOWN_NBYTES = 100


@dataclass(frozen=True, slots=True)
class _Undecoded:
    """A long list, object or number in a place that cannot hold it, or a very long one in any. Errors show its beginning."""

    raw: bytes

    def __repr__(self) -> str:
        size = f"{len(self.raw)} bytes, {_LARGE_NBYTES} at most: " if len(self.raw) > _LARGE_NBYTES else ""
        return size + self.raw[:_SHOWN_NBYTES].decode(errors="replace")


def json_fields(text: bytes, struct: type[msgspec.Struct]) -> object:
    """Decode a JSON text that should be an object with the fields of a Struct.

    null is dropped if the field may be absent; words are spelled as the field's type spells them.

    Raises:
        msgspec.DecodeError, UnicodeDecodeError, RecursionError: it is no JSON.
    """
    try:
        raws = msgspec.json.decode(text, type=dict[str, msgspec.Raw])
    except msgspec.ValidationError:  # it is JSON, but no object
        return _value(text.strip(), Any)
    return _fields(raws, struct)


def _fields(raws: Mapping[str, msgspec.Raw], struct: type[msgspec.Struct]) -> Mapping[str, object]:
    fields = dict.fromkeys(raws)  # unknown names are errors in any case; there may be 100,000
    for field in msgspec.structs.fields(struct):
        name = field.encode_name
        if name not in raws:
            continue
        value = _value(bytes(raws[name]), field.type)
        if value is None and not field.required:
            del fields[name]
        else:
            fields[name] = respelled(bare_base64(value, field.type), field.type)
    return fields


def bare_base64(value: object, declared: Any) -> object:
    """Return the base64 of a data URL if the field holds bytes; everything else is returned as it is."""
    if not isinstance(value, str) or not value.startswith("data:") or not _holds_bytes(declared):
        return value
    head, comma, content = value.partition(",")
    return content if comma and head.endswith(";base64") else value


def _holds_bytes(declared: Any) -> bool:
    return declared is bytes or any(map(_holds_bytes, get_args(declared)))


def _value(raw: bytes, declared: Any) -> object:
    if len(raw) <= _SMALL_NBYTES or raw.startswith(b'"'):
        return msgspec.json.decode(raw)
    if declared is not Any and (
        len(raw) <= _LARGE_NBYTES or declared == list[str]
    ):  # texts take no time, as files in base64
        try:
            return msgspec.json.decode(raw, type=declared)
        except UNREADABLE:
            pass
    return _Undecoded(raw)
