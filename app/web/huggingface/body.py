"""Decodes the bodies of `POST /generate/{model_name}`: those of the native API, and those of Hugging Face's clients."""

from typing import Any

import msgspec
from litestar.dto import DTOConfig
from litestar.dto.msgspec_dto import MsgspecDTO
from litestar.openapi.spec import Reference, Schema
from litestar.typing import FieldDefinition

from ...domain.requests.parameters import GenerationParameters
from ..http.body import JSONBodyDTO
from .errors import PicturesNotTaken, note_inference
from .wire import InferenceRequest

_NATIVE = JSONBodyDTO[GenerationParameters]
_INFERENCE = JSONBodyDTO[InferenceRequest]
_PICTURES = (b"\x89PNG", b"\xff\xd8\xff", b"RIFF", b"GIF8")
"""First bytes of PNG, JPEG, WebP and GIF files."""
_PICTURES_IN_BASE64 = (b'"iVBORw0KGgo', b'"/9j/', b'"\\/9j\\/', b'"UklGR', b'"R0lGOD', b'"data:image/')
"""First characters of the JSON texts that hold them."""


class _Names(msgspec.Struct):
    """The fields that tell the two kinds of bodies apart; the others are skipped, not decoded."""

    inputs: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    prompt: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET


class EitherBodyDTO(MsgspecDTO[GenerationParameters]):
    """Decodes to `GenerationParameters`, or to `InferenceRequest` if a body has `inputs` and no `prompt`."""

    config = DTOConfig()

    def decode_bytes(self, value: bytes) -> Any:
        """Decode a body.

        Raises:
            PicturesNotTaken: it is a picture or holds one.
            HTTPException, InvalidRequest: as `JSONBodyDTO.decode_bytes` does.
        """
        connection: Any = self.asgi_connection
        inputs = value if value.startswith(_PICTURES) else _inputs(value)
        if inputs is None:
            return _NATIVE(connection).decode_bytes(value)
        note_inference(connection.scope)
        if inputs.startswith(_PICTURES + _PICTURES_IN_BASE64):
            raise PicturesNotTaken
        return _INFERENCE(connection).decode_bytes(value)

    @classmethod
    def create_openapi_schema(
        cls, field_definition: FieldDefinition, handler_id: str, schema_creator: Any
    ) -> Reference | Schema:
        """Show both bodies."""
        native = _NATIVE.create_openapi_schema(field_definition, handler_id, schema_creator)
        inference = schema_creator.for_field_definition(FieldDefinition.from_annotation(InferenceRequest))
        return Schema(one_of=[native, inference])


def _inputs(body: bytes) -> bytes | None:
    """Return the JSON text of `inputs`; None if the body is not one of Hugging Face's clients."""
    try:
        names = msgspec.json.decode(body, type=_Names)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None  # the native decoder says what is wrong
    if isinstance(names.inputs, msgspec.UnsetType) or names.prompt is not msgspec.UNSET:
        return None
    return bytes(names.inputs)
