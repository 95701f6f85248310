"""Reads `multipart/form-data` bodies as they arrive: files larger than a megabyte are kept on disk until the body is whole."""

import asyncio
import tempfile
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import IO, Any

from litestar.exceptions import HTTPException
from litestar.types import Receive
from multipart import MultipartError, MultipartSegment, ParserLimitReached, PushMultipartParser, parse_options_header

from ...domain.errors import FieldError, InvalidRequest
from ...domain.shown import cut

MULTIPART = "multipart/form-data"
_SPOOLED_NBYTES = 1_000_000
"""Files up to this size are never written to disk."""
_MAX_TEXT_NBYTES = 100_000
"""Size of a part that is no file."""
_MAX_PARTS = 64
_FORM = "multipart_form"


class FormTooLarge(Exception):
    """The body is larger than its limit."""


class ClientGone(Exception):
    """The client left before its body was whole."""


@dataclass(slots=True, kw_only=True)
class Form:
    """The parts of a form by their names, in their order; `name[]` is `name`."""

    texts: dict[str, str] = field(default_factory=dict[str, str])
    files: dict[str, list[bytes]] = field(default_factory=dict[str, list[bytes]])

    @property
    def names(self) -> list[str]:
        """Names of all parts."""
        return [*self.texts, *self.files]


async def read_form(receive: Receive, content_type: str, max_nbytes: int) -> Form:
    """Read a form.

    Args:
        receive: of the request, whose body nothing has read yet.
        content_type: the header, with the boundary.
        max_nbytes: largest body.

    Raises:
        InvalidRequest: it is no form, or a part of it is wrong.
        FormTooLarge: the body is larger.
        ClientGone: the client left.
    """
    boundary = parse_options_header(content_type)[1].get("boundary", "")
    if not boundary:
        raise _wrong("body", "has no boundary in its content-type. Let the client write that header: curl -F does")
    reading = _Reading()
    try:
        with PushMultipartParser(boundary, max_segment_count=_MAX_PARTS, max_segment_size=max_nbytes) as parser:
            async for chunk in _chunks(receive, max_nbytes):
                for event in parser.parse(chunk):
                    await reading.take(event)
            parser.parse(b"")
        return await reading.form()
    except ParserLimitReached as error:
        raise _wrong("body", f"has more than {_MAX_PARTS} parts, or a part with too long a header: {error}") from error
    except MultipartError as error:
        raise _wrong("body", f"is no {MULTIPART}, or is cut short: {error}") from error
    finally:
        reading.close()


async def _chunks(receive: Receive, max_nbytes: int) -> AsyncIterator[bytes]:
    read_nbytes = 0
    while True:
        message = await receive()
        if message["type"] != "http.request":
            raise ClientGone
        body = message.get("body", b"")
        read_nbytes += len(body)
        if read_nbytes > max_nbytes:
            raise FormTooLarge
        if body:
            yield body
        if not message.get("more_body", False):
            return


@dataclass(slots=True)
class _Part:
    name: str
    is_file: bool
    content: IO[bytes]
    nbytes: int = 0


@dataclass(slots=True)
class _Reading:
    """The parts that have been read so far."""

    parts: list[_Part] = field(default_factory=list[_Part])

    async def take(self, event: MultipartSegment | bytearray | bytes | None) -> None:
        """Take what the parser found: the head of a part, a piece of it, or its end."""
        if isinstance(event, MultipartSegment):
            # Closed by `close`; it lives as long as the request's body is read.
            content = tempfile.SpooledTemporaryFile(max_size=_SPOOLED_NBYTES)  # noqa: SIM115
            name = (event.name or "").removesuffix("[]")
            self.parts.append(_Part(name=name, is_file=event.filename is not None, content=content))
        elif event:
            part = self.parts[-1]
            part.nbytes += len(event)
            if not part.is_file and part.nbytes > _MAX_TEXT_NBYTES:
                raise _wrong(
                    cut(part.name), f"must be at most {_MAX_TEXT_NBYTES} bytes long as text; send a picture as a file"
                )
            if part.nbytes > _SPOOLED_NBYTES:
                await asyncio.to_thread(part.content.write, bytes(event))
            else:
                part.content.write(event)

    async def form(self) -> Form:
        """Bring all parts into memory.

        Raises:
            InvalidRequest: two texts have one name, or a text is not UTF-8.
        """
        form = Form()
        for part in self.parts:
            part.content.seek(0)
            content = (
                await asyncio.to_thread(part.content.read) if part.nbytes > _SPOOLED_NBYTES else part.content.read()
            )
            if part.is_file:
                form.files.setdefault(part.name, []).append(content)
            elif part.name in form.texts:
                raise _wrong(cut(part.name), "is there twice; a field has one value")
            else:
                form.texts[part.name] = _text(part.name, content)
        return form

    def close(self) -> None:
        """Delete what is on disk."""
        for part in self.parts:
            part.content.close()


def _text(name: str, content: bytes) -> str:
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        raise _wrong(cut(name), "is not UTF-8 text; send a picture as a file, with a file name") from error


def note_form(scope: Any, found: Form | Exception) -> None:
    """Keep the form of a request, or what was wrong with it, for its handler."""
    scope.setdefault("state", {})[_FORM] = found


def form_of(scope: Any) -> Form | None:
    """Return the form that a request sent; None if it sent none.

    Raises:
        InvalidRequest: it was wrong.
        HTTPException: 413, it was too large.
    """
    found = scope.get("state", {}).get(_FORM)
    if isinstance(found, FormTooLarge):
        raise HTTPException(status_code=HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
    if isinstance(found, Exception):
        raise found
    return found


def single_files(form: Form) -> Mapping[str, bytes]:
    """Return the files by their names.

    Raises:
        InvalidRequest: a name has several.
    """
    for name, files in form.files.items():
        if len(files) > 1:
            raise _wrong(cut(name), f"is one file, got {len(files)}")
    return {name: files[0] for name, files in form.files.items()}


def _wrong(field_name: str, message: str) -> InvalidRequest:
    return InvalidRequest([FieldError(field=field_name, message=message)])
