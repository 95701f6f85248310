"""The request body of a generation: msgspec decodes it, and every wrong field is kept, to be reported at once."""

from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import msgspec
from litestar.dto import DTOConfig
from litestar.dto.msgspec_dto import MsgspecDTO
from litestar.exceptions import HTTPException
from litestar.openapi.spec import Reference, Schema
from litestar.typing import FieldDefinition

from ...domain.errors import FieldError, InvalidRequest
from ...domain.validation import convert_all, convert_rest

_READ_AS_JSON = frozenset({"", "application/json", "application/x-www-form-urlencoded"})
"""The last is what `curl -d` claims of whatever it sends."""

_UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)

T = TypeVar("T", bound=msgspec.Struct)


@dataclass(frozen=True, slots=True, kw_only=True)
class Posted(Generic[T]):
    """A body that was decoded, perhaps in part. Look at `errors` before you use it."""

    value: T
    """Without the fields that `errors` names."""
    errors: tuple[FieldError, ...] = ()
    """Every offending field, unknown ones included; limits are not checked yet."""


class PostedDTO(MsgspecDTO[T]):
    """Decodes a JSON body to `Posted[Struct]`, so that what is wrong can be reported with what breaks a limit."""

    config = DTOConfig()

    def decode_bytes(self, value: bytes) -> Posted[T]:
        """Decode a body.

        Raises:
            HTTPException: 415, it claims to be something else than JSON.
            InvalidRequest: it is no JSON object.
        """
        self._check_media_type()
        try:
            return Posted(value=msgspec.json.decode(value, type=self.model_type))
        except _UNREADABLE:
            pass  # the slow way finds everything that is wrong
        parsed = _parsed(value)
        body, errors = convert_all(parsed, self.model_type)
        rest = body or convert_rest(parsed, self.model_type, errors)
        if rest is None:
            raise InvalidRequest(errors)
        return Posted(value=rest, errors=tuple(errors))

    def _check_media_type(self) -> None:
        sent = self.asgi_connection.headers.get("content-type", "").split(";")[0].strip().lower()
        if sent not in _READ_AS_JSON and not sent.endswith("+json"):
            raise HTTPException(
                detail=f"The body is of type {sent!r}. Send JSON, with the header content-type: application/json.",
                status_code=415,
            )

    @classmethod
    def create_openapi_schema(
        cls,
        field_definition: FieldDefinition,
        handler_id: str,  # noqa: ARG003 - the signature of the class above
        schema_creator: Any,
    ) -> Reference | Schema:
        """The Struct itself: nothing is renamed or left out."""
        struct = FieldDefinition.from_annotation(cls.model_type, kwarg_definition=field_definition.kwarg_definition)
        return schema_creator.for_field_definition(struct)


def _parsed(value: bytes) -> object:
    try:
        return msgspec.json.decode(value)
    except _UNREADABLE as error:
        message = f'is not JSON: {error}. Send an object such as {{"prompt": "a red circle"}}'
        raise InvalidRequest([FieldError(field="body", message=message)]) from error
