"""The parameters of a generation as options: one for each field of the Struct, so that the two cannot drift."""

import base64
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import click
from msgspec import inspect

from ..domain.errors import InvalidRequest
from ..domain.requests.hires import Hires
from ..domain.requests.parameters import GenerationParameters
from ..domain.validation import convert_all

_FIELDS = frozenset(GenerationParameters.__struct_fields__)
ARGUMENT = "prompt"
"""The one field that is not an option."""

_Function = TypeVar("_Function", bound=Callable[..., Any])
_WITHOUT_EFFECT = frozenset({"previews", "priority"})
"""Fields that act among the requests of a server only: one request has no queue, and no job whose events show previews."""
_NESTED = "hires"
"""Field that is a Struct, whose fields are options of their own."""
_FILES = frozenset({"image", "mask"})
"""Fields that hold a file, whose path is the option."""
_LORAS = "adapters"
"""Field whose option is `--lora name:weight`, for each adapter one."""
_HELP = {
    "image": "A picture to begin from, a PNG, JPEG, WebP or AVIF file. --width and --height default to its own, rounded down.",
    "mask": "What of --image is painted again: white, or transparent, in a picture of the same shape.",
    "output_format": "Default: by the suffix of the output, else png.",
    "reproducible": "Makes each image in steps of its own, so that --n does not change a bit of it. "
    "Slower for several images. Default: limits.reproducible of the settings.",
}
"""Descriptions of fields that the command line treats differently from the API."""

_LORA_HELP = (
    "A LoRA of `litestar-diffusion adapters`, such as outline:0.8; may be given several times. The weight is 1 by default, and "
    "that of the text encoders is the same. <lora:name:weight> in PROMPT means the same."
)


def with_parameters(function: _Function) -> _Function:
    """Give a command an option for each field of GenerationParameters that acts without a server; absent ones are None."""
    struct = inspect.type_info(GenerationParameters)
    assert isinstance(struct, inspect.StructType)
    for field in reversed(struct.fields):
        if field.name == _NESTED:
            function = _with_second_pass(function)
        elif field.name != ARGUMENT and field.name not in _WITHOUT_EFFECT:
            function = _option(field)(function)
    return function


def _with_second_pass(function: _Function) -> _Function:
    """Give a command the options of a second pass: `--hires 2`, `--hires-upscaler lanczos`."""
    struct = inspect.type_info(Hires)
    assert isinstance(struct, inspect.StructType)
    for field in reversed(struct.fields):
        declared, description = _described(field)
        name = f"{_NESTED}_{field.name}"
        option_of = f"--{_NESTED}" if field.name == "scale" else option_name(name)
        about = "A second pass at a larger size. " if field.name == "scale" else "Of the second pass. "
        shown = about + _with_option_names(description)
        function = click.option(option_of, name, metavar=_metavar(field.name, declared), help=shown)(function)
    return function


def parameters_of(stated: Mapping[str, Any]) -> GenerationParameters:
    """Convert the options, in which text stands for numbers.

    Raises:
        InvalidRequest: naming every wrong option.
    """
    given: dict[str, object] = {
        name: _base64_of(text) if name in _FILES else text
        for name, text in stated.items()
        if name != _LORAS and not name.startswith(f"{_NESTED}_")
    }
    if loras := stated.get(_LORAS):
        given[_LORAS] = [_lora(text) for text in loras]
    if second := {
        name.removeprefix(f"{_NESTED}_"): text for name, text in stated.items() if name.startswith(f"{_NESTED}_")
    }:
        given[_NESTED] = second
    parameters, errors = convert_all(given, GenerationParameters, strict=False)
    if parameters is None:
        raise InvalidRequest(errors)
    return parameters


def option_name(field: str) -> str:
    """Return the command-line option of a field: `--guidance-scale`."""
    if field == _LORAS:
        return "--lora"
    return ARGUMENT.upper() if field == ARGUMENT else f"--{field.replace('_', '-')}"


def _option(field: inspect.Field) -> Callable[[_Function], _Function]:
    declared, description = _described(field)
    if isinstance(field.default, int):
        description += f" Default: {field.default}."
    nargs = len(declared.item_types) if isinstance(declared, inspect.TupleType) else 1
    names = [option_name(field.name), *([f"-{field.name}"] if len(field.name) == 1 else [])]
    shown = _HELP.get(field.name) or _with_option_names(description)
    if field.name == _LORAS:
        return click.option(*names, field.name, multiple=True, metavar="NAME[:WEIGHT[:TEXT_WEIGHT]]", help=_LORA_HELP)
    if field.name in _FILES:
        return click.option(*names, field.name, type=click.Path(exists=True, dir_okay=False), help=shown)
    return click.option(*names, field.name, nargs=nargs, metavar=_metavar(field.name, declared), help=shown)


def _described(field: inspect.Field) -> tuple[inspect.Type, str]:
    """Return the type of a field without null, and its description."""
    declared = _without_none(field.type)
    if not isinstance(declared, inspect.Metadata):
        return declared, ""
    return declared.type, (declared.extra_json_schema or {}).get("description", "")


def _lora(text: str) -> dict[str, str]:
    """Read `name:weight:text_weight`; the last two may be absent."""
    name, *weights = text.split(":")
    return {"name": name, **dict(zip(("weight", "text_weight"), weights, strict=False))}


def _base64_of(path: str) -> str:
    return base64.b64encode(Path(path).read_bytes()).decode()


def _with_option_names(description: str) -> str:
    """Write the names of other parameters as a person types them here: `--clip-skip` for `clip_skip`."""
    return re.sub(r"`(\w+)`", lambda match: option_name(match[1]) if match[1] in _FIELDS else match[0], description)


def _without_none(declared: inspect.Type) -> inspect.Type:
    if isinstance(declared, inspect.UnionType):
        return next(each for each in declared.types if not isinstance(each, inspect.NoneType))
    return declared


def _metavar(name: str, declared: inspect.Type) -> str:
    match declared:
        case inspect.LiteralType(values=values):
            return f"[{'|'.join(map(str, values))}]"
        case inspect.UnionType(types=types) if all(isinstance(each, inspect.LiteralType) for each in types):
            return f"[{'|'.join(_metavar(name, each)[1:-1] for each in types)}]"
        case inspect.BoolType():
            return "[true|false]"
        case inspect.IntType():
            return "INTEGER"
        case inspect.TupleType():
            return "TOP LEFT" if name.endswith("crop") else "HEIGHT WIDTH"
        case inspect.FloatType():
            return "NUMBER"
        case _:
            return "TEXT"
