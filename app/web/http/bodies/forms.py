"""Reads `multipart/form-data` bodies as they arrive: files larger than a megabyte are kept on disk."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

from litestar.exceptions import HTTPException
from litestar.types import Receive
from multipart import MultipartError, MultipartSegment, ParserLimitReached, PushMultipartParser, parse_options_header

from ....domain.errors import FieldError, InvalidRequest
from ....domain.requests.pictures.picture import FileContent
from ....domain.shown import cut
from .body_chunks import BodyTooLarge, body_chunks
from .spooled_file import SpooledFile

MULTIPART = "multipart/form-data"
_MAX_TEXT_NBYTES = 100_000
"""Size of a part that is no file."""
_MAX_PARTS = 64
_FORM = "multipart_form"


@dataclass(slots=True, kw_only=True)
class Form:
    """The parts of a form by their names, in their order; `name[]` is `name`."""

    texts: dict[str, str] = field(default_factory=dict[str, str])
    files: dict[str, list[FileContent]] = field(default_factory=dict[str, list[FileContent]])

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
        BodyTooLarge: the body is larger.
        StorageUnavailable: the disk is full.
        ClientGone: the client left.
    """
    boundary = parse_options_header(content_type)[1].get("boundary", "")
    if not boundary:
        raise _wrong("body", "has no boundary in its content-type. Let the client write that header: curl -F does")
    reading = _Reading()
    try:
        with PushMultipartParser(boundary, max_segment_count=_MAX_PARTS, max_segment_size=max_nbytes) as parser:
            async for chunk in body_chunks(receive, max_nbytes):
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


@dataclass(slots=True)
class _Part:
    name: str
    is_file: bool
    unnamed: bool
    """Whether its file has no name, as in forms of browsers in which no file was chosen."""
    content: SpooledFile = field(default_factory=SpooledFile)


@dataclass(slots=True)
class _Reading:
    """The parts that have been read so far."""

    parts: list[_Part] = field(default_factory=list[_Part])

    async def take(self, event: MultipartSegment | bytearray | bytes | None) -> None:
        """Take what the parser found: the head of a part, a piece of it, or its end."""
        if isinstance(event, MultipartSegment):
            name = (event.name or "").removesuffix("[]")
            self.parts.append(_Part(name, is_file=event.filename is not None, unnamed=event.filename == ""))
        elif event:
            part = self.parts[-1]
            await part.content.write(event)
            if not part.is_file and part.content.nbytes > _MAX_TEXT_NBYTES:
                raise _wrong(
                    cut(part.name), f"must be at most {_MAX_TEXT_NBYTES} bytes long as text; send a picture as a file"
                )

    async def form(self) -> Form:
        """Return all parts but files that were not chosen; the large ones stay on disk.

        Raises:
            InvalidRequest: two texts have one name, or a text is not UTF-8.
        """
        form = Form()
        for part in self.parts:
            content = await part.content.content()
            if part.unnamed and not content:
                continue
            if part.is_file:
                form.files.setdefault(part.name, []).append(content)
            elif part.name in form.texts:
                raise _wrong(cut(part.name), "is there twice; a field has one value")
            else:
                form.texts[part.name] = _text(part.name, content)
        return form

    def close(self) -> None:
        """Let go of what is on disk and was not returned."""
        for part in self.parts:
            part.content.close()


def _text(name: str, content: FileContent) -> str:
    try:
        return bytes(content).decode()
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
    if isinstance(found, BodyTooLarge):
        raise HTTPException(status_code=HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
    if isinstance(found, Exception):
        raise found
    return found


def single_files(form: Form) -> Mapping[str, FileContent]:
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
