"""Takes files out of a JSON body while it arrives: a long text in base64 becomes a file, in whose place a mark stands.

A body that holds a picture would otherwise be in memory twice while its request waits, as text and decoded, and msgspec would
hold the event loop while it decodes it.
"""

import base64
import binascii
import codecs
import re
import secrets
from collections.abc import Mapping
from typing import Any

from ....domain.requests.pictures.picture import FileContent
from .spooled_file import SpooledFile

LONG_NBYTES = 32_768
"""Texts up to this size stay in the body, and a few that are little longer."""
_PIECE_NBYTES = LONG_NBYTES // 2
"""Bytes that are looked at at once."""
_DATA_URL = re.compile(rb"data:[^,]{0,100};base64,")
_FILES = "json_files"

PICTURES = (b"\x89PNG", b"\xff\xd8\xff", b"RIFF", b"GIF8")
"""First bytes of PNG, JPEG, WebP and GIF files."""
_TOLD_BY_NBYTES = max(map(len, PICTURES))
WHOLE_BODY = "whole body"
"""Stands for the mark of a body that is a picture itself."""
Files = Mapping[str, FileContent]
"""Files by their marks."""


class JSONReading:
    """A body that is being read. Event loop only."""

    def __init__(self) -> None:
        self.text = bytearray()
        """The body so far, with marks in the place of files."""
        self.files: dict[str, FileContent] = {}
        self._token = secrets.token_hex(8)  # no client can write a mark
        self._head: bytes | None = b""
        """The body so far, as long as it may become a picture; None once that is told."""
        self._picture: SpooledFile | None = None
        """The body, if it is no JSON but a picture as it is."""
        self._is_object: bool | None = None
        """Whether the body is a JSON object; None until that is told."""
        self._begin: int | None = None
        """Where the characters of the present text begin; None between two texts."""
        self._escaped = False
        """Whether a backslash was the last character."""
        self._stays = False
        """Whether the present text is no base64."""
        self._lifted: _Lifted | None = None
        """The present text, if it is being decoded."""

    async def feed(self, chunk: bytes) -> None:
        """Take the next piece of the body.

        Raises:
            StorageUnavailable: the disk is full.
        """
        if self._head is not None:
            chunk, self._head = self._head + chunk, None
            if chunk.startswith(PICTURES):
                self._picture = SpooledFile()
                self.text += chunk[:_TOLD_BY_NBYTES]  # a decoder that wants JSON says that this is none
            elif any(picture.startswith(chunk) for picture in PICTURES):
                self._head = chunk
                return
        if self._picture is not None:
            await self._picture.write(chunk)
            return
        if self._is_object is None and (start := chunk.removeprefix(codecs.BOM_UTF8).lstrip()):
            self._is_object = start.startswith(b"{")
        if not self._is_object:
            self.text += chunk
            return
        for at in range(0, len(chunk), _PIECE_NBYTES):
            piece = chunk[at : at + _PIECE_NBYTES]
            while piece:
                piece = await (self._decode(piece) if self._lifted is not None else self._pass(piece))

    async def end(self) -> Files:
        """Return the files of the body, which is whole.

        Raises:
            StorageUnavailable: the disk is full.
        """
        self.text += self._head or b""
        if self._picture is not None:
            self.files[WHOLE_BODY] = await self._picture.content()
        return self.files

    def close(self) -> None:
        """Let go of what is open; files that were returned stay."""
        if self._picture is not None:
            self._picture.close()
        if self._lifted is not None:
            self._lifted.file.close()

    async def _pass(self, piece: bytes) -> bytes:
        """Take a piece as it is. Its quotation marks are counted and not visited: a body may hold 100,000 short texts.

        A text that begins and ends in one piece is short.
        """
        masked = _masked(b"\\" + piece)[1:] if self._escaped else _masked(piece)
        self._escaped = masked.endswith(b"\\")
        begun, quotes = len(self.text), masked.count(b'"')
        self.text += piece
        inside = (self._begin is not None) != (quotes % 2 == 1)
        if quotes:
            self._begin = begun + masked.rfind(b'"') + 1 if inside else None
            self._stays = False
        if (
            self._begin is not None
            and not (self._stays or self._escaped)
            and len(self.text) - self._begin > LONG_NBYTES
        ):
            await self._lift(self._begin)
        return b""

    async def _decode(self, piece: bytes) -> bytes:
        """Decode a piece up to the end of the present text. Returns what is left to do of it."""
        assert self._lifted is not None
        if self._escaped:
            piece, self._escaped = b"\\" + piece, False
        part, quote, rest = piece.partition(b'"')
        if not quote and part.endswith(b"\\"):
            part, self._escaped = part[:-1], True
        plain = part.replace(b"\\/", b"/")  # PHP writes \/ for the / of base64
        if b"\\" in plain or not await self._lifted.take(plain):
            await self._put_back()
            self._escaped = False
            return piece
        if quote:
            await self._end()
        return rest

    async def _lift(self, begin: int) -> None:
        """Begin to decode the present text, if what has come of it is base64."""
        so_far = bytes(self.text[begin:]).replace(b"\\/", b"/")
        head = _DATA_URL.match(so_far)
        lifted = _Lifted(b"" if head is None else head.group())
        if await lifted.take(so_far[len(lifted.head) :]):
            self._lifted = lifted
            del self.text[begin:]
        else:
            self._stays = True

    async def _put_back(self) -> None:
        """Undo the decoding: the text turns out to be no base64, and the usual decoder says so."""
        assert self._lifted is not None
        self.text += await self._lifted.original()
        self._lifted, self._stays = None, True

    async def _end(self) -> None:
        if self._lifted is not None and self._lifted.rest:
            await self._put_back()
        if self._lifted is not None:
            mark = f"file:{self._token}:{len(self.files)}"
            self.files[mark] = await self._lifted.file.content()
            self._lifted.file.close()
            self.text += mark.encode()
        self.text += b'"'
        self._begin = self._lifted = None


def _masked(piece: bytes) -> bytes:
    """Replace what a backslash takes the meaning of, so that each quotation mark that is left begins or ends a text."""
    return piece.replace(b"\\\\", b"__").replace(b'\\"', b"__")


class _Lifted:
    """A text in base64 that is decoded to a file."""

    def __init__(self, head: bytes) -> None:
        self.head = head
        """Beginning of a data URL."""
        self.file = SpooledFile()
        self.rest = b""
        """Characters of which the next ones are needed: four are three bytes."""
        self._padded = False

    async def take(self, part: bytes) -> bool:
        """Decode the next part; returns False and does nothing if it is no base64."""
        text = self.rest + part
        whole = text[: len(text) // 4 * 4]
        if part and self._padded:
            return False
        try:
            decoded = binascii.a2b_base64(whole, strict_mode=True)
        except binascii.Error:
            return False
        self._padded = self._padded or whole.endswith(b"=")
        self.rest = text[len(whole) :]
        await self.file.write(decoded)
        return True

    async def original(self) -> bytes:
        """Return the text that was taken so far."""
        content = await self.file.content()
        self.file.close()
        return self.head + base64.b64encode(content) + self.rest


def note_files(scope: Any, files: Files) -> None:
    """Keep the files of a body for the decoder of its request."""
    scope.setdefault("state", {})[_FILES] = files


def files_of(scope: Any) -> Files:
    """Return the files that were taken out of the body of a request."""
    return scope.get("state", {}).get(_FILES, {})
