"""Decodes JSON files that people and libraries write beside weights."""

import codecs
import json
from typing import Any

import msgspec

from .reading import NotServable

_UTF_16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


def decode_config(name: str, content: bytes) -> dict[str, Any]:
    """Decode a JSON object; a byte order mark is accepted, and so is `Infinity`, which diffusers writes.

    Raises:
        NotServable: it is none; the message names the file.
    """
    if content.startswith(_UTF_16):
        raise NotServable(f"{name} is in UTF-16: save it as UTF-8.")
    try:
        decoded = json.loads(content.decode("utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise NotServable(f"{name} is not as it should be: {error}.") from error
    try:
        return msgspec.convert(decoded, dict[str, Any])
    except msgspec.ValidationError as error:
        raise NotServable(f"{name} is not as it should be: {error}.") from error
