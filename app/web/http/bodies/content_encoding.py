"""Turns a request body into UTF-8 text: unpacks gzip within a limit, drops a byte order mark, names other encodings."""

import codecs
import zlib
from collections.abc import Iterator
from http import HTTPStatus

from litestar.exceptions import HTTPException

from ....domain.errors import FieldError, InvalidRequest

IDENTITY = ("", "identity")
"""Encodings that change nothing."""
_GZIP = zlib.MAX_WBITS | 16
_AT_ONCE_NBYTES = 262_144
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
    if encoding in IDENTITY:
        return body
    unpacking = Unpacking(encoding, max_nbytes)
    text = b"".join(unpacking.feed(body))
    unpacking.end()
    return text


class Unpacking:
    """A body in gzip that arrives in pieces."""

    def __init__(self, encoding: str, max_nbytes: int | None) -> None:
        """Begin with nothing.

        Args:
            encoding: the header, in lower case.
            max_nbytes: most bytes that the body may have when unpacked; None for no limit.

        Raises:
            HTTPException: 415, the encoding is another than gzip.
        """
        if encoding not in ("gzip", "x-gzip"):
            raise HTTPException(
                detail=f"The body has the content-encoding {encoding[:60]!r}. Send it as it is, or as gzip.",
                status_code=HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
                headers={"accept-encoding": "gzip"},
            )
        self._max_nbytes = max_nbytes
        self._nbytes = 0
        self._inflate = zlib.decompressobj(_GZIP)

    def feed(self, packed: bytes) -> Iterator[bytes]:
        """Unpack the next piece, a part of a megabyte at once.

        Raises:
            HTTPException: 413, it has become larger than it may.
            InvalidRequest: it is no gzip, or goes on after its end.
        """
        while packed and not self._inflate.eof:
            try:
                part = self._inflate.decompress(packed, _AT_ONCE_NBYTES)
            except zlib.error as error:
                raise _wrong("is said to be gzip by its content-encoding, and is not") from error
            self._nbytes += len(part)
            if self._max_nbytes is not None and self._nbytes > self._max_nbytes:
                raise HTTPException(status_code=HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
            packed = self._inflate.unconsumed_tail
            yield part
        if packed or self._inflate.unused_data:
            raise _wrong("is more than one gzip file")

    def end(self) -> None:
        """Check that this was all.

        Raises:
            InvalidRequest: it is cut short.
        """
        if not self._inflate.eof:
            raise _wrong("is cut short: its gzip has no end")


def _wrong(message: str) -> InvalidRequest:
    return InvalidRequest([FieldError(field="body", message=message)])
