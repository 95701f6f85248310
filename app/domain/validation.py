"""Converts untrusted data to a Struct and reports every wrong field at once, whereas msgspec stops at the first."""

import difflib
import types
import typing
from collections.abc import Callable, Iterator, Mapping
from itertools import islice
from typing import Any, TypeVar

import msgspec

from .errors import FieldError

T = TypeVar("T", bound=msgspec.Struct)
MAX_ERRORS = 20
"""Fields that are reported; the others are counted."""
MAX_SHOWN_CHARS = 60
"""Characters of a name or value from outside that are compared or shown."""

_Problem = tuple[str, Callable[[], str]]
"""A field and its message; made only for what is shown, because looking for similar names takes time."""


def convert_all(
    raw: object, struct: type[T], *, strict: bool = True, path: str = ""
) -> tuple[T | None, list[FieldError]]:
    """Convert `raw` to `struct`, or list the fields that are wrong: one of the two values is empty.

    Args:
        raw: decoded JSON or TOML.
        struct: the Struct type; unknown keys are errors, whether or not it forbids them.
        strict: False lets text stand for numbers and booleans, as environment variables need.
        path: dotted prefix of the fields' paths.
    """
    problems = _problems(raw, struct, strict, path)
    errors = [FieldError(field=field, message=message()) for field, message in islice(problems, MAX_ERRORS)]
    if errors:
        left = sum(1 for _ in problems)
        if left:
            errors.append(FieldError(field=path or "body", message=f"and {left} more fields are wrong"))
        return None, errors
    try:
        return msgspec.convert(raw, struct, strict=strict), []
    except msgspec.ValidationError as error:  # a rule that spans several fields
        return None, [FieldError(field=path or "body", message=str(error))]


def cut(text: str) -> str:
    """The beginning of a text from outside, short enough to be shown."""
    return text if len(text) <= MAX_SHOWN_CHARS else f"{text[:MAX_SHOWN_CHARS]}…"


def _problems(raw: object, struct: type[msgspec.Struct], strict: bool, path: str) -> Iterator[_Problem]:
    if not isinstance(raw, Mapping):
        shown = _shown(raw)
        yield path or "body", lambda: f"must be an object with named fields, got {shown}"
        return
    mapping = typing.cast("Mapping[str, Any]", raw)
    fields = {field.encode_name: field for field in msgspec.structs.fields(struct)}
    for key in mapping:
        if key not in fields:
            name = cut(str(key))
            yield _join(path, name), lambda name=name: _unknown(name, list(fields))
    for name, field in fields.items():
        where = _join(path, name)
        if name not in mapping:
            if field.required:
                yield where, lambda: "is required"
            continue
        yield from _value_problems(mapping[name], field.type, strict, where)


def _value_problems(value: object, declared: Any, strict: bool, path: str) -> Iterator[_Problem]:
    if (nested := _struct_in(declared)) is not None and isinstance(value, Mapping):
        yield from _problems(typing.cast("Mapping[str, object]", value), nested, strict, path)
        return
    if (item := _struct_item(declared)) is not None:
        if isinstance(value, list):
            for index, element in enumerate(typing.cast("list[object]", value)):
                yield from _problems(element, item, strict, f"{path}[{index}]")
            return
        if isinstance(value, Mapping):
            for key, element in typing.cast("Mapping[str, object]", value).items():
                yield from _problems(element, item, strict, _join(path, cut(key)))
            return
    try:
        msgspec.convert(value, declared, strict=strict)
    except msgspec.ValidationError as error:
        choices = ", ".join(map(repr, _choices(declared)))
        wanted = f"must be one of {choices}" if choices and isinstance(value, str) else _in_words(str(error))
        message = f"{wanted}, got {_shown(value)}"
        yield path, lambda: message


def _choices(declared: Any) -> tuple[str, ...]:
    """The words that a field may hold, if it holds one of a few words or None; empty for every other field."""
    if typing.get_origin(declared) is typing.Annotated:
        return _choices(typing.get_args(declared)[0])
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
    return cut(repr(value))


def _join(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name
