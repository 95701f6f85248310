"""Turns the parts of a form into the fields of a Struct: plain values, or a JSON part `parameters` beside files."""

from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any

import msgspec

from ....domain.errors import FieldError, InvalidRequest
from ....domain.shown import cut
from ....domain.validation import respelled
from .forms import Form, single_files
from .json_fields import UNREADABLE, bare_base64, json_fields

PARAMETERS = "parameters"
"""Name of the part that holds a JSON object with any of the fields."""


def form_fields(form: Form, struct: type[msgspec.Struct]) -> Mapping[str, object]:
    """Return the fields that a form states.

    An empty value counts as absent where it could not be one, as browsers send fields that were left empty.

    Raises:
        InvalidRequest: `parameters` is no JSON object, or a field is stated twice.
    """
    texts, files = dict(form.texts), dict(single_files(form))
    described = texts.pop(PARAMETERS, None)
    if described is None and PARAMETERS in files:
        described = bytes(files.pop(PARAMETERS)).decode(errors="replace")
    fields = dict(_described(described, struct)) if described is not None else {}
    for name, value in (*_values(texts, struct), *files.items()):
        if name in fields:
            raise _wrong(cut(name), "is stated twice in the form")
        fields[name] = value
    return fields


def _described(text: str, struct: type[msgspec.Struct]) -> Mapping[str, object]:
    try:
        fields = json_fields(text.encode(), struct)
    except UNREADABLE as error:
        raise _wrong(PARAMETERS, f"is no JSON: {error}") from error
    if not isinstance(fields, Mapping):
        raise _wrong(PARAMETERS, "is no JSON object with named fields")
    return fields


def _values(texts: Mapping[str, str], struct: type[msgspec.Struct]) -> Iterator[tuple[str, object]]:
    declared = {field.encode_name: field.type for field in msgspec.structs.fields(struct)}
    for name, text in texts.items():
        if name in declared and not text and not _may_be_empty(declared[name]):
            continue
        yield name, _value(text, declared.get(name, str))


def _value(text: str, declared: Any) -> object:
    if text.lstrip().startswith(("[", "{")) and not _holds_text(declared):
        try:
            return msgspec.json.decode(text)
        except UNREADABLE:
            return text
    return respelled(bare_base64(text, declared), declared)


def _may_be_empty(declared: Any) -> bool:
    with suppress(msgspec.ValidationError):
        return msgspec.convert("", declared) == ""
    return False


def _holds_text(declared: Any) -> bool:
    try:
        return msgspec.convert("[", declared) == "["
    except msgspec.ValidationError:
        return False


def _wrong(field_name: str, message: str) -> InvalidRequest:
    return InvalidRequest([FieldError(field=field_name, message=message)])
