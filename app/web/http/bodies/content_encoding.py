"""Turns a request body into UTF-8 text: unpacks gzip within a limit, drops a byte order mark, names other encodings."""

import codecs
import zlib
from http import HTTPStatus

from litestar.exceptions import HTTPException

from ....domain.errors import FieldError, InvalidRequest

_GZIP = zlib.MAX_WBITS | 16
_UTF_16_OR_32 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE, codecs.BOM_UTF32_BE)


def utf8_body(body: bytes, content_encoding: str, max_nbytes: int | None) -> bytes:
    """Return the text of a body, in UTF-8 and without a byte order mark.

    Args:
        body: as it came.
        content_encoding: the header; empty if there is none.
        max_nbytes: largest text; None for no limit.

    Raises:
        HTTPException: 413, the unpacked text is larger; 415, the encoding is another than gzip.
        InvalidRequest: the body is damaged or not UTF-8.
    """
    text = _unpacked(body, content_encoding.strip().lower(), max_nbytes)
    # JSON begins with an ASCII character, which has a zero byte beside it in UTF-16 and UTF-32.
    if text.startswith(_UTF_16_OR_32) or 0 in text[:2]:
        raise _wrong("is UTF-16 or UTF-32. Send UTF-8")
    return text.removeprefix(codecs.BOM_UTF8)


def _unpacked(body: bytes, encoding: str, max_nbytes: int | None) -> bytes:
    if encoding in ("", "identity"):
        return body
    if encoding not in ("gzip", "x-gzip"):
        raise HTTPException(
            detail=f"The body has the content-encoding {encoding[:60]!r}. Send it as it is, or as gzip.",
            status_code=HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
            headers={"accept-encoding": "gzip"},
        )
    unpacking = zlib.decompressobj(_GZIP)
    try:
        text = unpacking.decompress(body, 0 if max_nbytes is None else max_nbytes + 1)
    except zlib.error as error:
        raise _wrong("is said to be gzip by its content-encoding, and is not") from error
    if max_nbytes is not None and len(text) > max_nbytes:
        raise HTTPException(status_code=HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
    if not unpacking.eof or unpacking.unused_data:
        raise _wrong("is cut short, or more than one gzip file")
    return text


def _wrong(message: str) -> InvalidRequest:
    return InvalidRequest([FieldError(field="body", message=message)])
