"""Scripts and extensions of the web UI in a request: which would change the picture, and which are left out. Pure functions."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, cast

from ....domain.errors import FieldError
from ....domain.validation import cut

_MAX_WARNINGS = 20


def refused_scripts(scripts: Mapping[str, Any]) -> Iterator[FieldError]:
    """Yield an error for each script without which the picture would be another one."""
    for name, entry in scripts.items():
        match name.lower():
            case "controlnet" if any(_is_unit_on(unit) for unit in _arguments(entry)):
                message = "ControlNet does not exist here. Send the request without its units, or with enabled: false"
                yield FieldError(field="alwayson_scripts.ControlNet", message=message)
            case "refiner" if _is_on(_arguments(entry)):
                message = "the refiner does not exist here. Send the request without it"
                yield FieldError(field="alwayson_scripts.Refiner", message=message)
            case _:
                pass


def ignored_scripts(scripts: Mapping[str, Any]) -> list[str]:
    """Return a warning for each extension that is switched on and left out."""
    on = [name for name, entry in scripts.items() if _is_on(_arguments(entry))]
    names = [name for name in on if name.lower() not in ("controlnet", "refiner")]
    return [f"alwayson_scripts.{cut(name)} was ignored: extensions do not exist here." for name in names][
        :_MAX_WARNINGS
    ]


def _arguments(entry: object) -> Sequence[Any]:
    """Return the arguments of a script: `{"args": [...]}`, or the list alone."""
    args = cast("Mapping[str, Any]", entry).get("args") if isinstance(entry, dict) else entry
    return cast("Sequence[Any]", args) if isinstance(args, list) else ()


def _is_on(args: Sequence[Any]) -> bool:
    """Tell whether a script does anything: extensions have a switch as their first argument, alone or in an object."""
    first = args[0] if args else False
    if isinstance(first, dict):
        return any(_is_unit_on(unit) for unit in args)
    return first is not False


def _is_unit_on(unit: object) -> bool:
    """Tell whether a unit of ControlNet is on; without a model and a preprocessor it does nothing."""
    if not isinstance(unit, dict):
        return False
    stated = cast("Mapping[str, Any]", unit)
    named = [stated.get(key) for key in ("model", "module")]
    empty = "model" in stated and all(name in (None, "", "None", "none") for name in named)
    return stated.get("enabled", stated.get("enable", True)) is not False and not empty
