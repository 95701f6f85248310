"""Converts untrusted data to a Struct and reports every wrong field at once, where msgspec stops at the first."""

import difflib
import re
import types
import typing
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

import msgspec

from .errors import FieldError

T = TypeVar("T", bound=msgspec.Struct)
_MAX_VALUE_CHARS = 60


def convert_all(
    raw: object, struct: type[T], *, strict: bool = True, path: str = ""
) -> tuple[T | None, list[FieldError]]:
    """Convert `raw` to `struct`; the second value lists every field that is wrong, and the first is None then.

    Args:
        raw: decoded JSON or TOML.
        struct: the Struct type; unknown keys are errors, whatever its configuration says.
        strict: False lets text stand for numbers and booleans, as environment variables need.
        path: dotted prefix for the fields' paths.
    """
    errors = list(_errors(raw, struct, strict, path))
    if errors:
        return None, errors
    try:
        return msgspec.convert(raw, struct, strict=strict), []
    except msgspec.ValidationError as error:  # a rule that spans several fields
        return None, [FieldError(field=path or "body", message=str(error))]


def convert_rest(raw: object, struct: type[T], errors: Sequence[FieldError], *, strict: bool = True) -> T | None:
    """Convert what is left without the fields that `errors` names, so that later checks can be reported together.

    Required text that is wrong becomes empty. None where nothing can be made of the rest.
    """
    if not isinstance(raw, Mapping):
        return None
    mapping = typing.cast("Mapping[str, Any]", raw)
    wrong = {re.split(r"[.[]", error.field, maxsplit=1)[0] for error in errors}
    rest = {key: value for key, value in mapping.items() if key not in wrong}
    blank = {field.encode_name: "" for field in msgspec.structs.fields(struct) if field.required}
    try:
        return msgspec.convert({**blank, **rest}, struct, strict=strict)
    except msgspec.ValidationError:
        return None


def _errors(raw: object, struct: type[msgspec.Struct], strict: bool, path: str) -> typing.Iterator[FieldError]:
    if not isinstance(raw, Mapping):
        yield FieldError(field=path or "body", message=f"must be an object with named fields, got {_shown(raw)}")
        return
    mapping = typing.cast("Mapping[str, Any]", raw)
    fields = {field.encode_name: field for field in msgspec.structs.fields(struct)}
    for key in mapping:
        if key not in fields:
            yield FieldError(field=_join(path, str(key)), message=_unknown(str(key), list(fields)))
    for name, field in fields.items():
        where = _join(path, name)
        if name not in mapping:
            if field.required:
                yield FieldError(field=where, message="is required")
            continue
        yield from _value_errors(mapping[name], field.type, strict, where)


def _value_errors(value: object, declared: Any, strict: bool, path: str) -> typing.Iterator[FieldError]:
    if (nested := _struct_in(declared)) is not None and isinstance(value, Mapping):
        yield from _errors(typing.cast("Mapping[str, object]", value), nested, strict, path)
        return
    if (item := _struct_item(declared)) is not None:
        if isinstance(value, list):
            for index, element in enumerate(typing.cast("list[object]", value)):
                yield from _errors(element, item, strict, f"{path}[{index}]")
            return
        if isinstance(value, Mapping):
            for key, element in typing.cast("Mapping[str, object]", value).items():
                yield from _errors(element, item, strict, _join(path, key))
            return
    try:
        msgspec.convert(value, declared, strict=strict)
    except msgspec.ValidationError as error:
        choices = ", ".join(map(repr, _choices(declared)))
        wanted = f"must be one of {choices}" if choices and isinstance(value, str) else _in_words(str(error))
        yield FieldError(field=path, message=f"{wanted}, got {_shown(value)}")


def _choices(declared: Any) -> tuple[str, ...]:
    """What a field may say that is one of a few words, or None; empty for anything else."""
    if typing.get_origin(declared) is typing.Literal:
        return typing.get_args(declared)
    options = typing.get_args(declared) if typing.get_origin(declared) in (typing.Union, types.UnionType) else ()
    found = [_choices(option) for option in options if option is not types.NoneType]
    return found[0] if len(found) == 1 else ()


def _struct_in(declared: Any) -> type[msgspec.Struct] | None:
    """The Struct that a field holds, `X` or `X | None`; None for anything else."""
    options = typing.get_args(declared) if isinstance(declared, types.UnionType) else (declared,)
    structs = [option for option in options if isinstance(option, type) and issubclass(option, msgspec.Struct)]
    return structs[0] if len(structs) == 1 else None


def _struct_item(declared: Any) -> type[msgspec.Struct] | None:
    """The Struct that a list, tuple or string-keyed dict holds; None for anything else."""
    if typing.get_origin(declared) not in (list, tuple, dict):
        return None
    return next((s for arg in typing.get_args(declared) if (s := _struct_in(arg)) is not None), None)


def _unknown(key: str, allowed: list[str]) -> str:
    close = difflib.get_close_matches(key, allowed, n=1)
    hint = f" Did you mean {close[0]!r}?" if close else ""
    return f"is not known here.{hint} Allowed: {', '.join(sorted(allowed))}"


def _in_words(message: str) -> str:
    """Msgspec's "Expected `int` >= 1 - at `$`" without the path, which the caller knows better."""
    text = message.split(" - at `", maxsplit=1)[0].replace("`", "")
    return text[:1].lower() + text[1:]


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= _MAX_VALUE_CHARS else f"{text[:_MAX_VALUE_CHARS]}…"


def _join(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name
