"""Decodes JSON bodies, and forms, with msgspec; reports every wrong field at once."""

import itertools
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar, cast

import msgspec
from litestar import Request
from litestar.dto import DTOConfig
from litestar.dto.data_structures import DTOFieldDefinition
from litestar.dto.msgspec_dto import MsgspecDTO
from litestar.handlers import HTTPRouteHandler
from litestar.openapi.spec import Reference, Schema
from litestar.typing import FieldDefinition

from ....domain.errors import FieldError, InvalidRequest
from ....domain.shown import cut
from ....domain.validation import MAX_ERRORS, convert_all
from ..errors.refusals import EMPTY_BODY, not_json
from ..media_types import FORM, JSON
from .content_encoding import utf8_body
from .form_fields import form_fields
from .forms import form_of
from .json_fields import UNREADABLE, json_fields
from .json_files import Files, files_of
from .repeated_names import repeated_names

_READ_AS_JSON = frozenset({"", JSON, FORM})  # `curl -d` calls every body a form

_DECODED_AT_ONCE_NBYTES = 32_768
"""Larger bodies are decoded field by field. The slowest numbers take msgspec 0.3 ms a kilobyte, which holds the event loop."""
_LARGE_NBYTES = 1_000_000
_MAX_QUOTES_IF_LARGE = 20_000
_SENT = "sent_fields"

T = TypeVar("T", bound=msgspec.Struct)


class JSONBodyDTO(MsgspecDTO[T]):
    """Decodes a JSON body to a Struct."""

    config = DTOConfig()

    def decode_bytes(self, value: bytes) -> T:
        """Decode a body, or take the form that was read already.

        Raises:
            HTTPException: 413 or 415, it claims to be of another media type than JSON, or its encoding cannot be undone.
            InvalidRequest: it is no JSON object, or fields of it are wrong.
        """
        struct = cast("type[T]", self.model_type)
        if (form := form_of(self.asgi_connection.scope)) is not None:
            return _converted(form_fields(form, struct), struct, strict=False)
        self._check_media_type()
        return _decoded(self._text(value), struct, files_of(self.asgi_connection.scope))

    def _text(self, value: bytes) -> bytes:
        text = utf8_body(value, self.asgi_connection.headers.get("content-encoding", ""), self._max_nbytes)
        # A large body holds a few long texts, files in base64. Millions of short ones would hold the event loop for seconds.
        if len(text) > _LARGE_NBYTES and text.count(b'"') > _MAX_QUOTES_IF_LARGE:
            raise _wrong(
                f"has more than {_MAX_QUOTES_IF_LARGE // 2} texts in {len(text)} bytes; only pictures may be large"
            )
        if repeated := repeated_names(text):
            raise InvalidRequest(repeated)
        return text

    @property
    def _max_nbytes(self) -> int | None:
        handler = cast("HTTPRouteHandler", self.asgi_connection.route_handler)
        return handler.resolve_request_max_body_size()

    def _check_media_type(self) -> None:
        sent = self.asgi_connection.headers.get("content-type", "").split(";")[0].strip().lower()
        if sent not in _READ_AS_JSON and not sent.endswith("+json"):
            raise not_json(sent)

    @classmethod
    def generate_field_definitions(
        cls,
        model_type: type[Any],  # noqa: ARG003 - the signature of the class above
    ) -> Generator[DTOFieldDefinition, None, None]:
        """Have Litestar build no decoder of its own, which would take the view of a file for a list."""
        yield from ()

    @classmethod
    def create_openapi_schema(
        cls,
        field_definition: FieldDefinition,
        handler_id: str,  # noqa: ARG003 - the signature of the class above
        schema_creator: Any,
    ) -> Reference | Schema:
        """Show the Struct itself: nothing is renamed or left out."""
        struct = FieldDefinition.from_annotation(cls.model_type, kwarg_definition=field_definition.kwarg_definition)
        return schema_creator.for_field_definition(struct)


class LenientBodyDTO(JSONBodyDTO[T]):
    """Decodes a JSON body of another server's API as such servers do.

    It may claim any media type, an empty one is an empty object, null is as good as absent, text may stand for numbers and
    booleans. Fields that are not known are ignored: `ignored_fields` names them.
    """

    def decode_bytes(self, value: bytes) -> T:
        """Decode a body.

        Raises:
            HTTPException, InvalidRequest: as `JSONBodyDTO.decode_bytes` does, but for the media type.
        """
        struct = cast("type[T]", self.model_type)
        form = form_of(self.asgi_connection.scope)
        files = files_of(self.asgi_connection.scope)
        fields = (
            _fields(self._text(value).strip() or b"{}", struct, files) if form is None else form_fields(form, struct)
        )
        if isinstance(fields, Mapping):
            sent = _Sent.of(cast("Mapping[str, object]", fields), struct)
            self.asgi_connection.scope["state"][_SENT] = sent
            fields = sent.known
        return _converted(fields, struct, strict=False)


@dataclass(frozen=True, slots=True)
class _Sent:
    """The fields of a body: those that its Struct has, and the names of the others."""

    known: Mapping[str, object]
    ignored: Sequence[str]

    @classmethod
    def of(cls, fields: Mapping[str, object], struct: type[msgspec.Struct]) -> "_Sent":
        names = frozenset(field.encode_name for field in msgspec.structs.fields(struct))
        known = {name: value for name, value in fields.items() if name in names}
        others = itertools.islice((name for name in fields if name not in names), MAX_ERRORS)
        return cls(known, tuple(map(cut, others)))


def ignored_fields(request: Request[Any, Any, Any]) -> Sequence[str]:
    """List the fields of a request's body that `LenientBodyDTO` ignored, cut to what can be shown."""
    return _sent(request).ignored


def sent_fields(request: Request[Any, Any, Any]) -> frozenset[str]:
    """List the known fields that the body of a request held when `LenientBodyDTO` decoded it, without those that were null."""
    return frozenset(_sent(request).known)


def _sent(request: Request[Any, Any, Any]) -> _Sent:
    return cast("_Sent", request.scope["state"][_SENT])


def _decoded(text: bytes, struct: type[T], files: Files) -> T:
    if not text.strip():
        raise _wrong(EMPTY_BODY)
    if len(text) <= _DECODED_AT_ONCE_NBYTES and not files:
        try:
            return msgspec.json.decode(text, type=struct)
        except UNREADABLE:
            pass  # field by field is slower, but finds every wrong one
    return _converted(_fields(text, struct, files), struct)


def _fields(text: bytes, struct: type[msgspec.Struct], files: Files) -> object:
    try:
        return json_fields(text, struct, files)
    except UNREADABLE as error:
        raise _wrong(f'{_unreadable(error)}. Send an object such as {{"prompt": "a red circle"}}') from error


def _converted(fields: object, struct: type[T], *, strict: bool = True) -> T:
    body, errors = convert_all(fields, struct, strict=strict)
    if body is None:
        raise InvalidRequest(errors)
    return body


def _unreadable(error: Exception) -> str:
    match error:
        case UnicodeDecodeError():
            return "is not UTF-8"
        case RecursionError():
            return "has too many brackets inside each other"
        case _:
            return f"is not JSON: {str(error).removeprefix('JSON is malformed: ')}"


def _wrong(message: str) -> InvalidRequest:
    return InvalidRequest([FieldError(field="body", message=message)])
