"""Finds names that a JSON object states twice: parsers take one of the values and say nothing."""

import json
from collections.abc import Iterator, Sequence
from typing import Any

from ....domain.errors import FieldError
from ....domain.shown import cut
from ....domain.validation import MAX_ERRORS

_MAX_NBYTES = 32_768
"""Size, without its long texts, of a body that is looked through; valid ones are smaller."""
_LONG_NBYTES = 1024
_MAX_QUOTES = 10_000
"""Quotation marks of a large body that is looked through: each takes a microsecond."""


def repeated_names(text: bytes) -> list[FieldError]:
    """Return an error for each name that an object of a JSON text states twice; none if the text is no JSON."""
    if len(text) > _MAX_NBYTES and text.count(b'"') <= _MAX_QUOTES:
        text = b"".join(_without_long_texts(text))
    if len(text) > _MAX_NBYTES:
        return []
    found: dict[str, None] = {}

    def note(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
        fields: dict[str, Any] = {}
        for name, value in pairs:
            if name in fields:
                found[name] = None
            fields[name] = value
        return fields

    try:
        json.loads(text, object_pairs_hook=note)
    except (ValueError, RecursionError):
        return []
    names = list(found)[:MAX_ERRORS]
    return [FieldError(field=cut(name) or '""', message="is stated twice; a field has one value") for name in names]


def _without_long_texts(text: bytes) -> Iterator[bytes]:
    """Yield a JSON text with empty texts in the place of long ones, such as files in base64."""
    begin = 0
    while (opening := text.find(b'"', begin)) >= 0:
        closing = _closing(text, opening + 1)
        if closing < 0:
            break
        yield text[begin:opening] + b'""' if closing - opening > _LONG_NBYTES else text[begin : closing + 1]
        begin = closing + 1
    yield text[begin:]


def _closing(text: bytes, begin: int) -> int:
    """Return where a text ends; -1 if it does not. A quotation mark after an odd number of backslashes is part of it."""
    while (mark := text.find(b'"', begin)) >= 0:
        part = text[begin:mark]
        if (len(part) - len(part.rstrip(b"\\"))) % 2 == 0:
            return mark
        begin = mark + 1
    return -1
