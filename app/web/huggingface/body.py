"""Decodes the bodies of `POST /generate/{model_name}`: those of the native API, and those of Hugging Face's clients."""

from codecs import BOM_UTF8
from collections.abc import Generator
from typing import Any

import msgspec
from litestar.dto import DTOConfig
from litestar.dto.data_structures import DTOFieldDefinition
from litestar.dto.msgspec_dto import MsgspecDTO
from litestar.openapi.spec import Reference, Schema
from litestar.typing import FieldDefinition

from ...domain.requests.parameters import GenerationParameters
from ..http.bodies.body import JSONBodyDTO
from ..http.bodies.json_files import PICTURES, WHOLE_BODY, Files, files_of
from .errors import note_inference
from .wire import InferenceRequest, PictureRequest

_NATIVE = JSONBodyDTO[GenerationParameters]
_INFERENCE = JSONBodyDTO[InferenceRequest]
_PICTURE = JSONBodyDTO[PictureRequest]
_PICTURES_IN_BASE64 = (b'"iVBORw0KGgo', b'"/9j/', b'"\\/9j\\/', b'"UklGR', b'"R0lGOD', b'"data:image/')
"""First characters of the JSON texts that hold them."""


class _Names(msgspec.Struct):
    """The fields that tell the two kinds of bodies apart; the others are skipped, not decoded."""

    inputs: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    prompt: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET


class EitherBodyDTO(MsgspecDTO[GenerationParameters]):
    """Decodes a native body, or one of Hugging Face's clients.

    It becomes `GenerationParameters`; `InferenceRequest` if it has `inputs` and no `prompt`; `PictureRequest` if these hold a
    picture, or if the body is one.
    """

    config = DTOConfig()

    def decode_bytes(self, value: bytes) -> Any:
        """Decode a body.

        Raises:
            HTTPException, InvalidRequest: as `JSONBodyDTO.decode_bytes` does.
        """
        connection: Any = self.asgi_connection
        files = files_of(connection.scope)
        if value.startswith(PICTURES):
            note_inference(connection.scope)
            return PictureRequest(inputs=files.get(WHOLE_BODY, value))
        inputs = _inputs(value)
        if inputs is None:
            return _NATIVE(connection).decode_bytes(value)
        note_inference(connection.scope)
        is_picture = _is_picture(inputs, files)
        return (_PICTURE if is_picture else _INFERENCE)(connection).decode_bytes(value)

    @classmethod
    def generate_field_definitions(
        cls,
        model_type: type[Any],  # noqa: ARG003 - the signature of the class above
    ) -> Generator[DTOFieldDefinition, None, None]:
        """Have Litestar build no decoder of its own, which would take the view of a file for a list."""
        yield from ()

    @classmethod
    def create_openapi_schema(
        cls, field_definition: FieldDefinition, handler_id: str, schema_creator: Any
    ) -> Reference | Schema:
        """Show all bodies."""
        native = _NATIVE.create_openapi_schema(field_definition, handler_id, schema_creator)
        others = (InferenceRequest, PictureRequest)
        inference = [schema_creator.for_field_definition(FieldDefinition.from_annotation(body)) for body in others]
        return Schema(one_of=[native, *inference])


def _is_picture(inputs: bytes, files: Files) -> bool:
    """Tell whether `inputs` hold a picture, in base64 or as the mark of a file that was taken out of the body."""
    file = files.get(inputs.strip(b'"').decode(errors="replace"))
    return inputs.startswith(_PICTURES_IN_BASE64) if file is None else bytes(file[:4]).startswith(PICTURES)


def _inputs(body: bytes) -> bytes | None:
    """Return the JSON text of `inputs`; None if the body is not one of Hugging Face's clients."""
    try:
        names = msgspec.json.decode(body.removeprefix(BOM_UTF8), type=_Names)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None  # the native decoder says what is wrong
    if isinstance(names.inputs, msgspec.UnsetType) or names.prompt is not msgspec.UNSET:
        return None
    return bytes(names.inputs)
