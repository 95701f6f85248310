"""The two places that settings come from, as plain trees of tables: a TOML file, and variables of the environment."""

import difflib
import re
import tomllib
import types
import typing
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, cast

import msgspec

from .domain.errors import FieldError, InvalidSettings
from .domain.validation import cut

FILE_VARIABLE = "LITESTAR_DIFFUSION_SETTINGS"
PREFIX = "LITESTAR_DIFFUSION__"
_STEM = "LITESTAR_DIFFUSION"
_TRUTHS: Mapping[str, bool] = {
    **dict.fromkeys(("1", "true", "yes", "on"), True),
    **dict.fromkeys(("0", "false", "no", "off"), False),
}
_CONTAINERS = (list, tuple, dict)


def read_file(file: Path) -> dict[str, Any]:
    """Read a TOML file, with or without a byte order mark.

    Raises:
        InvalidSettings: it cannot be read, is not UTF-8, or is not TOML.
    """
    try:
        return tomllib.loads(_text(file.read_bytes()))
    except (
        OSError,
        ValueError,
        RecursionError,
    ) as error:  # bytes that are no text and text that is no TOML are ValueErrors
        raise InvalidSettings(str(file), [FieldError(field="file", message=_why(error))]) from error


def overrides(environment: Mapping[str, str], struct: type[msgspec.Struct]) -> dict[str, Any]:
    """Convert `LITESTAR_DIFFUSION__A__B=x` to `{"a": {"b": "x"}}`.

    Args:
        environment: variables; those without the prefix are ignored.
        struct: the settings, whose types say which texts are lists or tables (JSON, or as in TOML) and which are booleans.

    Raises:
        InvalidSettings: one variable sets a table and another a key of it, or a list or a table is neither JSON nor TOML.
    """
    ours = {tuple(key[len(PREFIX) :].lower().split("__")): key for key in environment if key.upper().startswith(PREFIX)}
    errors = [*_conflicts(ours)]
    tree: dict[str, Any] = {}
    for path, key in ours.items() if not errors else ():
        node = tree
        for table in path[:-1]:
            node = cast("dict[str, Any]", node.setdefault(table, {}))
        try:
            node[path[-1]] = _value(environment[key], _type_at(path, struct))
        except ValueError as error:
            errors.append(FieldError(field=key, message=str(error)))
    if errors:
        raise InvalidSettings("the environment", errors)
    return tree


def unknown_variables(environment: Mapping[str, str]) -> dict[str, str | None]:
    """Return the variables that look like settings and are none, each with the one that may be meant."""
    strange = [
        key
        for key in environment
        if key.upper().startswith(_STEM) and not key.upper().startswith(PREFIX) and key != FILE_VARIABLE
    ]
    return {key: _meant(key) for key in strange}


def merged(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """Merge two trees of tables; `above` wins. A key of `above` in another case is the key of `below`.

    Variables of the environment are read in lower case, and the tables of models have names such as `MyModel`.
    """
    result = dict(below)
    in_lower_case = {str(key).lower(): key for key in below}
    for name, value in above.items():
        key = name if name in below else in_lower_case.get(name, name)
        known = result.get(key)
        if isinstance(value, Mapping) and isinstance(known, Mapping):
            result[key] = merged(cast("Mapping[str, Any]", known), cast("Mapping[str, Any]", value))
        else:
            result[key] = value
    return result


def with_plain_words(raw: Any, struct: type[msgspec.Struct]) -> Any:
    """Write words of a fixed choice, such as a log level, as they are declared: `INFO` is `info`."""
    if not isinstance(raw, Mapping):
        return raw
    declared = {field.encode_name: options(field.type) for field in msgspec.structs.fields(struct)}
    table = cast("Mapping[str, Any]", raw)
    return {name: _plain_word(value, declared.get(name, ())) for name, value in table.items()}


def _plain_word(value: Any, declared: Sequence[Any]) -> Any:
    structs = [option for option in declared if isinstance(option, type) and issubclass(option, msgspec.Struct)]
    if structs:
        return with_plain_words(value, structs[0])
    words = [
        word for option in declared if typing.get_origin(option) is typing.Literal for word in typing.get_args(option)
    ]
    return value.strip().lower() if isinstance(value, str) and value.strip().lower() in words else value


def _text(data: bytes) -> str:
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise ValueError("is UTF-16: save it as UTF-8")
    return data.decode("utf-8-sig")


def _why(error: Exception) -> str:
    match error:
        case OSError():
            return f"cannot be read: {error.strerror or error}"
        case RecursionError():
            return "is not TOML: it is nested too deeply"
        case UnicodeDecodeError():
            return "is not UTF-8: save it as UTF-8"
        case tomllib.TOMLDecodeError():
            return f"is not TOML: {error}"
        case _:
            return str(error)


def _conflicts(ours: Mapping[tuple[str, ...], str]) -> list[FieldError]:
    """Find variables that set a whole table of which another variable sets a key."""
    return [
        FieldError(field=ours[table], message=f"sets the table of which {key} sets a key: remove one of the two")
        for path, key in ours.items()
        for table in (path[:length] for length in range(1, len(path)))
        if table in ours
    ]


def _value(text: str, declared: Sequence[Any]) -> Any:
    """Convert a variable's text for its field; text for numbers and words is left to the validation.

    Raises:
        ValueError: bytes that are no text, or a list or a table that is neither JSON nor TOML.
    """
    if not _is_unicode(text):
        raise ValueError(f"is not UTF-8: {cut(repr(text))}")
    stripped = text.strip()
    if any(_is_container(option) for option in declared):
        return _parsed(stripped, or_text=str in declared)
    if any(option is bool or False in typing.get_args(option) for option in declared):
        return _TRUTHS.get(stripped.lower(), stripped)
    return text if str in declared else stripped


def _is_unicode(text: str) -> bool:
    """Tell whether a variable is text: Python has surrogates for bytes that are not UTF-8, and no JSON could carry them."""
    return text.isascii() or not any("\ud800" <= each <= "\udfff" for each in text)


def _parsed(text: str, *, or_text: bool) -> Any:
    """Parse a list or a table, as JSON or as TOML writes it; a field may take a word instead, such as `all`."""
    with suppress(ValueError, RecursionError):  # the errors of msgspec and tomllib are ValueErrors
        return msgspec.json.decode(text)
    with suppress(ValueError, RecursionError):
        return tomllib.loads(f"value = {text}")["value"]
    if or_text and not text.startswith(("[", "{", '"')):
        return text
    raise ValueError(f'must be JSON, such as \'["a", "b"]\' or \'{{"a": 1}}\', got {cut(repr(text))}')


def _type_at(path: Sequence[str], struct: type[msgspec.Struct]) -> list[Any]:
    """Return the types that the field at a path takes; none if there is no such field."""
    declared: list[Any] = [struct]
    for name in path:
        declared = [inner for option in declared for inner in _inside(option, name)]
    return declared


def _inside(option: Any, name: str) -> list[Any]:
    if isinstance(option, type) and issubclass(option, msgspec.Struct):
        fields = {field.encode_name: field.type for field in msgspec.structs.fields(option)}
        return options(fields[name]) if name in fields else []
    return options(typing.get_args(option)[1]) if typing.get_origin(option) is dict else []


def options(declared: Any) -> list[Any]:
    """Return the alternatives of a type, without the limits of their values."""
    origin = typing.get_origin(declared)
    if origin is typing.Annotated:
        return options(typing.get_args(declared)[0])
    if origin in (typing.Union, types.UnionType):
        return [inner for option in typing.get_args(declared) for inner in options(option)]
    return [declared]


def _is_container(option: Any) -> bool:
    return typing.get_origin(option) in _CONTAINERS or (isinstance(option, type) and issubclass(option, msgspec.Struct))


def _meant(key: str) -> str | None:
    """Guess the variable that a name was meant to be: one underscore too few, or a slip of the fingers."""
    rest = re.sub(r"^_+", "", key.upper()[len(_STEM) :])
    close = difflib.get_close_matches(f"{_STEM}_{rest}", [FILE_VARIABLE], n=1, cutoff=0.9)
    if close:
        return close[0]
    table, _, name = rest.partition("_")
    return f"{PREFIX}{table}__{name.lstrip('_')}" if name else None
