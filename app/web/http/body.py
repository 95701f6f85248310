"""Decodes JSON bodies with msgspec; reports every wrong field at once."""

from typing import Any, TypeVar

import msgspec
from litestar.dto import DTOConfig
from litestar.dto.msgspec_dto import MsgspecDTO
from litestar.openapi.spec import Reference, Schema
from litestar.typing import FieldDefinition

from ...domain.errors import FieldError, InvalidRequest
from ...domain.validation import convert_all
from .media_types import FORM, JSON
from .refusals import not_json

_READ_AS_JSON = frozenset({"", JSON, FORM})  # `curl -d` calls every body a form

_UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)

T = TypeVar("T", bound=msgspec.Struct)


class JSONBodyDTO(MsgspecDTO[T]):
    """Decodes a JSON body to a Struct."""

    config = DTOConfig()

    def decode_bytes(self, value: bytes) -> T:
        """Decode a body.

        Raises:
            HTTPException: 415, it claims to be of another media type than JSON.
            InvalidRequest: it is no JSON object, or fields of it are wrong.
        """
        self._check_media_type()
        try:
            return msgspec.json.decode(value, type=self.model_type)
        except _UNREADABLE:
            pass  # convert_all is slower, but finds every wrong field
        body, errors = convert_all(_parsed(value), self.model_type)
        if body is None:
            raise InvalidRequest(errors)
        return body

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


def _parsed(value: bytes) -> object:
    try:
        return msgspec.json.decode(value)
    except _UNREADABLE as error:
        message = f'is not JSON: {error}. Send an object such as {{"prompt": "a red circle"}}'
        raise InvalidRequest([FieldError(field="body", message=message)]) from error
