"""Converts untrusted data to a Struct and reports every wrong field at once, whereas msgspec stops at the first."""

import difflib
import itertools
import re
import reprlib
import types
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

import msgspec

from .errors import FieldError
from .shown import MAX_SHOWN_CHARS, cut

T = TypeVar("T", bound=msgspec.Struct)
MAX_ERRORS = 20
"""Number of fields that are reported; the others are counted."""
OTHER_NAMES = "other_names"
"""Key in `Meta(extra=...)` of a type of few words: a mapping of other names for them, in small letters."""
_FIELDS_ELSEWHERE: Mapping[str, tuple[str, ...]] = {
    "batch_size": ("n",),
    "cfg": ("guidance_scale",),
    "cfg_scale": ("guidance_scale",),
    "format": ("output_format",),
    "guidance": ("guidance_scale",),
    "num_images": ("n",),
    "num_images_per_prompt": ("n",),
    "num_outputs": ("n",),
    "sampler_name": ("sampler",),
    "scheduler": ("sampler", "schedule"),
    "size": ("width", "height"),
    "steps": ("num_inference_steps",),
}
"""Names of fields in other programs, and what the fields are called here."""


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
    report = _Report()
    _check(raw, struct, strict, path, report)
    if report.errors:
        return None, report.all(path or "body")
    try:
        return msgspec.convert(raw, struct, strict=strict), []
    except msgspec.ValidationError as error:  # a rule that spans several fields
        return None, [FieldError(field=path or "body", message=str(error))]


def wrong_value(value: object, declared: Any, *, strict: bool = True) -> str | None:
    """Describe what is wrong with a value: what is allowed, and what it is. Returns None if it is right.

    Args:
        value: decoded JSON or TOML, or a text.
        declared: type that it should have, with its limits.
        strict: as in `convert_all`.
    """
    try:
        msgspec.convert(value, declared, strict=strict)
    except msgspec.ValidationError as error:
        words = ", ".join(map(repr, _choices(declared)))
        allowed = f"must be one of {words}" if words and isinstance(value, str) else in_words(str(error))
        return f"{allowed}, got {_shown(value)}"
    return None


def respelled(value: object, declared: Any) -> object:
    """Return the allowed word that a text means: case and blanks around it do not count, other usual names are known.

    A type lists other names in its annotation: `Annotated[Literal["jpeg"], Meta(extra={OTHER_NAMES: {"jpg": "jpeg"}})]`.
    Everything else is returned as it is.
    """
    if not isinstance(value, str) or len(value) > MAX_SHOWN_CHARS:
        return value
    words = {word.casefold(): word for word in _choices(declared) if isinstance(word, str)}
    return {**words, **_other_names(declared)}.get(value.strip().casefold(), value)


@dataclass(slots=True)
class _Report:
    """The first `MAX_ERRORS` wrong fields, and the number of the others."""

    errors: list[FieldError] = field(default_factory=list[FieldError])
    others: int = 0

    def add(self, path: str, message: Callable[[], str]) -> None:
        """Report a field; its message is made only if it is shown, because looking for similar names takes time."""
        if len(self.errors) < MAX_ERRORS:
            self.errors.append(FieldError(field=path, message=message()))
        else:
            self.others += 1

    def all(self, path: str) -> list[FieldError]:
        """List the reported fields; the last entry counts the errors that were left out, under `path`."""
        if not self.others:
            return self.errors
        return [*self.errors, FieldError(field=path, message=f"and {self.others} more fields are wrong")]


def _check(raw: object, struct: type[msgspec.Struct], strict: bool, path: str, report: _Report) -> None:
    if not isinstance(raw, Mapping):
        report.add(path or "body", lambda: f"must be an object with named fields, got {_shown(raw)}")
        return
    mapping = typing.cast("Mapping[str, object]", raw)
    fields = {field.encode_name: field for field in msgspec.structs.fields(struct)}
    _check_names(mapping, list(fields), path, report)
    for name, declared in fields.items():
        where = _join(path, name)
        if name in mapping:
            _check_value(mapping[name], declared.type, strict, where, report)
        elif declared.required:
            report.add(where, lambda: "is required")


def _check_names(mapping: Mapping[str, object], allowed: list[str], path: str, report: _Report) -> None:
    known = frozenset(allowed)
    unknown = [key for key in mapping if key not in known]
    # Tens of thousands fit into one body: those that are not shown are counted at once, not one by one.
    for key in unknown[:MAX_ERRORS]:
        name = cut(str(key)) or '""'
        report.add(_join(path, name), lambda name=name: _unknown(name, allowed))
    report.others += len(unknown[MAX_ERRORS:])


def _check_value(value: object, declared: Any, strict: bool, path: str, report: _Report) -> None:
    if (nested := _struct_in(declared)) is not None and isinstance(value, Mapping):
        _check(typing.cast("Mapping[str, object]", value), nested, strict, path, report)
    elif (item := _struct_item(declared)) is not None and isinstance(value, list):
        for index, element in enumerate(typing.cast("list[object]", value)):
            _check(element, item, strict, f"{path}[{index}]", report)
    elif item is not None and isinstance(value, Mapping):
        for key, element in typing.cast("Mapping[str, object]", value).items():
            _check(element, item, strict, _join(path, cut(key)), report)
    else:
        _check_plain(value, declared, strict, path, report)


def _check_plain(value: object, declared: Any, strict: bool, path: str, report: _Report) -> None:
    if (message := wrong_value(value, declared, strict=strict)) is not None:
        report.add(path, lambda: message)


def _other_names(declared: Any) -> Mapping[str, str]:
    for note in getattr(declared, "__metadata__", ()):
        if isinstance(note, msgspec.Meta) and OTHER_NAMES in (note.extra or {}):
            return typing.cast("Mapping[str, str]", (note.extra or {})[OTHER_NAMES])
    return {}


def _choices(declared: Any) -> tuple[object, ...]:
    """Return the words that a field may hold; none if its type is no Literal of words, with or without None."""
    if typing.get_origin(declared) is typing.Annotated:
        return _choices(typing.get_args(declared)[0])
    if typing.get_origin(declared) is typing.Literal:
        return typing.get_args(declared)
    options = typing.get_args(declared) if typing.get_origin(declared) in (typing.Union, types.UnionType) else ()
    found = [_choices(option) for option in options if option is not types.NoneType]
    return tuple(itertools.chain.from_iterable(found)) if all(found) else ()


def _struct_in(declared: Any) -> type[msgspec.Struct] | None:
    """Return the Struct that a field holds, `X` or `X | None`, annotated or not; None for other types."""
    is_union = typing.get_origin(declared) in (typing.Union, types.UnionType)
    options = [_bare(option) for option in (typing.get_args(declared) if is_union else (declared,))]
    structs = [option for option in options if isinstance(option, type) and issubclass(option, msgspec.Struct)]
    return structs[0] if len(structs) == 1 else None


def _bare(declared: Any) -> Any:
    """Return a type without its annotations."""
    return typing.get_args(declared)[0] if typing.get_origin(declared) is typing.Annotated else declared


def _struct_item(declared: Any) -> type[msgspec.Struct] | None:
    """Return the Struct that a list, tuple or string-keyed dict holds; None for other types."""
    if typing.get_origin(declared) not in (list, tuple, dict):
        return None
    return next((s for arg in typing.get_args(declared) if (s := _struct_in(arg)) is not None), None)


def _unknown(key: str, allowed: list[str]) -> str:
    meant = [name for name in _FIELDS_ELSEWHERE.get(key.lower(), ()) if name in allowed]
    close = meant or difflib.get_close_matches(key, allowed, n=1)
    hint = f" Did you mean {' and '.join(map(repr, close))}?" if close else ""
    return f"is not known here.{hint} Allowed: {', '.join(sorted(allowed))}"


def in_words(message: str) -> str:
    """Remove the path from msgspec's "Expected `int` >= 1 - at `$`"; the caller has the whole path."""
    text = message.split(" - at `", maxsplit=1)[0].replace("`", "")
    text = re.sub(r", got [\w.-]+$", "", text)  # the caller shows the whole value
    text = text.replace(" | null", "")  # null is as good as absent
    text = text.replace("Expected bool", "must be true or false")
    return text[:1].lower() + text[1:]


def _shown(value: object) -> str:
    # `repr` of a large list would hold the event loop for tens of milliseconds; this looks at its first few elements.
    if value is None or isinstance(value, bool):
        return str(msgspec.json.encode(value), "utf-8")
    shortened = reprlib.Repr()
    shortened.maxstring = shortened.maxlong = shortened.maxother = 4 * MAX_SHOWN_CHARS
    return cut(shortened.repr(value))


def _join(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name
