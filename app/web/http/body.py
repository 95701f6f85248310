"""Decodes JSON bodies with msgspec; reports every wrong field at once."""

from collections.abc import Mapping
from typing import Any, TypeVar, cast

import msgspec
from litestar import Request
from litestar.dto import DTOConfig
from litestar.dto.msgspec_dto import MsgspecDTO
from litestar.handlers import HTTPRouteHandler
from litestar.openapi.spec import Reference, Schema
from litestar.typing import FieldDefinition

from ...domain.errors import FieldError, InvalidRequest
from ...domain.shown import cut
from ...domain.validation import MAX_ERRORS, convert_all
from .content_encoding import utf8_body
from .json_fields import UNREADABLE, json_fields
from .media_types import FORM, JSON
from .refusals import not_json

_READ_AS_JSON = frozenset({"", JSON, FORM})  # `curl -d` calls every body a form

_DECODED_AT_ONCE_NBYTES = 32_768
"""Larger bodies are decoded field by field. The slowest numbers take msgspec 0.3 ms a kilobyte, which holds the event loop."""
_IGNORED = "ignored_fields"
EMPTY_BODY = 'is empty. Send an object such as {"prompt": "a red circle"}'

T = TypeVar("T", bound=msgspec.Struct)


class JSONBodyDTO(MsgspecDTO[T]):
    """Decodes a JSON body to a Struct."""

    config = DTOConfig()

    def decode_bytes(self, value: bytes) -> T:
        """Decode a body.

        Raises:
            HTTPException: 413 or 415, it claims to be of another media type than JSON, or its encoding cannot be undone.
            InvalidRequest: it is no JSON object, or fields of it are wrong.
        """
        self._check_media_type()
        return _decoded(self._text(value), cast("type[T]", self.model_type))

    def _text(self, value: bytes) -> bytes:
        return utf8_body(value, self.asgi_connection.headers.get("content-encoding", ""), self._max_nbytes)

    @property
    def _max_nbytes(self) -> int | None:
        handler = cast("HTTPRouteHandler", self.asgi_connection.route_handler)
        return handler.resolve_request_max_body_size()

    def _check_media_type(self) -> None:
        sent = self.asgi_connection.headers.get("content-type", "").split(";")[0].strip().lower()
        if sent not in _READ_AS_JSON and not sent.endswith("+json"):
            raise not_json(sent)

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
    """Decodes a JSON body of another server's API: fields that are not known are ignored; `ignored_fields` names them."""

    def decode_bytes(self, value: bytes) -> T:
        """Decode a body; see `JSONBodyDTO.decode_bytes`."""
        self._check_media_type()
        struct = cast("type[T]", self.model_type)
        fields = _fields(self._text(value), struct)
        if isinstance(fields, Mapping):
            known = {field.encode_name for field in msgspec.structs.fields(struct)}
            sent = cast("Mapping[str, object]", fields)
            self.asgi_connection.scope["state"][_IGNORED] = [name for name in sent if name not in known]
            fields = {name: value for name, value in sent.items() if name in known}
        return _converted(fields, struct)


def ignored_fields(request: Request[Any, Any, Any]) -> tuple[str, ...]:
    """List the fields of a request's body that `LenientBodyDTO` ignored, cut to what can be shown."""
    names: list[str] = request.scope["state"].get(_IGNORED, [])
    return tuple(cut(name) for name in names[:MAX_ERRORS])


def _decoded(text: bytes, struct: type[T]) -> T:
    if not text.strip():
        raise _wrong(EMPTY_BODY)
    if len(text) <= _DECODED_AT_ONCE_NBYTES:
        try:
            return msgspec.json.decode(text, type=struct)
        except UNREADABLE:
            pass  # field by field is slower, but finds every wrong one
    return _converted(_fields(text, struct), struct)


def _fields(text: bytes, struct: type[msgspec.Struct]) -> object:
    if not text.strip():
        raise _wrong(EMPTY_BODY)
    try:
        return json_fields(text, struct)
    except UNREADABLE as error:
        raise _wrong(f'{_unreadable(error)}. Send an object such as {{"prompt": "a red circle"}}') from error


def _converted(fields: object, struct: type[T]) -> T:
    body, errors = convert_all(fields, struct)
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
