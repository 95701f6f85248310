"""Answers in JSON that hold files: the files are encoded to base64 as they are sent, a slice at a time.

Encoding 23 MB at once holds the event loop for 0.14 s, and each client that reads slowly would hold the whole text in memory. A
slice takes 0.1 ms, and the next one is made when the client has read the last.
"""

import asyncio
import binascii
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar, cast

import msgspec
from litestar import Response
from litestar.response.base import ASGIResponse
from litestar.serialization import default_serializer
from litestar.types import Receive, Send

_SMALL_NBYTES = 32_768
"""Files up to this size are encoded with the rest."""
_SLICE_NBYTES = 49_152
"""Bytes of a file that are encoded at once; a multiple of 3, so that the parts of the base64 fit together."""
_MARK_NBYTES = 24

T = TypeVar("T")


class LargeJSON(Response[T]):
    """A response whose content may hold files in `bytes`."""

    def to_asgi_response(self, *arguments: Any, **named: Any) -> ASGIResponse:
        """Make the response that is sent; one without large files is encoded as usual."""
        pieces = _pieces(self.content)
        if len(pieces) == 1:
            return super().to_asgi_response(*arguments, **named)
        content, self.content = self.content, cast("T", b"")
        try:
            usual = super().to_asgi_response(*arguments, **named)
        finally:
            self.content = content
        return _SlicedResponse.like(usual, pieces)


class _SlicedResponse(ASGIResponse):
    """Sends JSON text and, between its parts, files in base64."""

    __slots__ = ("pieces",)

    @classmethod
    def like(cls, usual: ASGIResponse, pieces: "Sequence[_Piece]") -> "_SlicedResponse":
        """Make a response with the status and headers of an empty one."""
        nbytes = sum(piece.nbytes for piece in pieces)
        headers = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in usual.encode_headers()]
        own = cls(
            background=usual.background,
            content_length=nbytes,
            headers=[(name, str(nbytes) if name == "content-length" else value) for name, value in headers],
            is_head_response=usual.is_head_response,
            status_code=usual.status_code,
        )
        own.pieces = pieces
        return own

    pieces: "Sequence[_Piece]"

    async def send_body(self, send: Send, receive: Receive) -> None:  # noqa: ARG002 - the signature of the class above
        """Send slice by slice; the server makes this wait while the client reads slowly."""
        for piece in self.pieces:
            for part in piece.parts():
                await send({"type": "http.response.body", "body": part, "more_body": True})
                await asyncio.sleep(0)
        await send({"type": "http.response.body", "body": b"", "more_body": False})


@dataclass(frozen=True, slots=True)
class _Piece:
    """Text, or a file."""

    content: bytes
    is_file: bool

    @property
    def nbytes(self) -> int:
        return (len(self.content) + 2) // 3 * 4 if self.is_file else len(self.content)

    def parts(self) -> Iterator[bytes]:
        """Yield what is sent."""
        if not self.is_file:
            yield self.content
            return
        view = memoryview(self.content)
        for begin in range(0, len(view), _SLICE_NBYTES):
            yield binascii.b2a_base64(view[begin : begin + _SLICE_NBYTES], newline=False)


@dataclass(slots=True)
class _Files:
    """Files that are taken out of a content, each with a mark of equal length in its place."""

    mark: bytes = field(default_factory=lambda: os.urandom(_MARK_NBYTES))  # no client can write it into a prompt
    found: list[bytes] = field(default_factory=list[bytes])

    def without(self, value: object) -> object:
        """Return a value without its large files."""
        match value:
            case bytes() if len(value) > _SMALL_NBYTES:
                self.found.append(value)
                return self.mark
            case dict():
                items = cast("Mapping[str, object]", value).items()
                return {name: self.without(item) for name, item in items}
            case list():
                return [self.without(item) for item in cast("list[object]", value)]
            case _:
                return value


def _pieces(content: object) -> Sequence[_Piece]:
    """Split a content at its large files; a single piece if it has none."""
    if not isinstance(content, msgspec.Struct):
        return [_Piece(b"", is_file=False)]
    files = _Files()
    try:
        rest = files.without(msgspec.to_builtins(content, builtin_types=(bytes,), enc_hook=default_serializer))
    except (
        RecursionError
    ):  # a client's own objects, repeated to it, may be nested more deeply than Python calls functions
        return [_Piece(b"", is_file=False)]
    if not files.found:
        return [_Piece(b"", is_file=False)]
    texts = msgspec.json.encode(rest).split(binascii.b2a_base64(files.mark, newline=False))
    pieces = [_Piece(texts[0], is_file=False)]
    for file, text in zip(files.found, texts[1:], strict=True):
        pieces += [_Piece(file, is_file=True), _Piece(text, is_file=False)]
    return pieces
