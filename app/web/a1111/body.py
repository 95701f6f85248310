"""Reads JSON bodies as the web UI does: nulls count as absent, numbers may be text, unknown fields do no harm."""

from collections.abc import Mapping
from typing import Any, TypeVar, cast

import msgspec
from litestar.dto import DTOConfig
from litestar.dto.msgspec_dto import MsgspecDTO
from litestar.openapi.spec import Reference, Schema
from litestar.typing import FieldDefinition

from ...domain.errors import FieldError, InvalidRequest
from ...domain.validation import MAX_ERRORS, convert_all, cut

_UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)

T = TypeVar("T", bound=msgspec.Struct)


class LenientBodyDTO(MsgspecDTO[T]):
    """Decodes a JSON body to a Struct that has a default for every field."""

    config = DTOConfig()

    def decode_bytes(self, value: bytes) -> T:
        """Decode a body of any media type; an empty one is an empty object.

        Raises:
            InvalidRequest: it is no JSON object, or fields of it are wrong.
        """
        sent = json_object(value)
        known = {name: sent[name] for name in names_of(self.model_type) if sent.get(name) is not None}
        body, errors = convert_all(known, self.model_type, strict=False)
        if body is None:
            raise InvalidRequest(errors)
        return body

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


def names_of(struct: type[msgspec.Struct]) -> list[str]:
    """List the names of the fields of a Struct as they go over the wire."""
    return [field.encode_name for field in msgspec.structs.fields(struct)]


def json_object(body: bytes) -> Mapping[str, Any]:
    """Parse a body.

    Raises:
        InvalidRequest: it is no JSON object.
    """
    try:
        sent = msgspec.json.decode(body or b"{}")
    except _UNREADABLE as error:
        raise InvalidRequest([FieldError(field="body", message=f"is not JSON: {error}")]) from error
    if not isinstance(sent, dict):
        raise InvalidRequest([FieldError(field="body", message='must be an object such as {"prompt": "a red circle"}')])
    return cast("Mapping[str, Any]", sent)


def unknown_fields(body: bytes, struct: type[msgspec.Struct]) -> list[str]:
    """List the first names in a body that its Struct does not have."""
    known = frozenset(names_of(struct))
    return [cut(name) for name in json_object(body) if name not in known][:MAX_ERRORS]
