"""The parameters of a generation as options: one for each field of the Struct, so that the two cannot drift."""

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import click
from msgspec import inspect

from ..domain.errors import InvalidRequest
from ..domain.requests.parameters import GenerationParameters
from ..domain.validation import convert_all

ARGUMENT = "prompt"
"""The one field that is not an option."""

_Function = TypeVar("_Function", bound=Callable[..., Any])
_HELP = {"output_format": "Default: by the suffix of the output, else png."}
"""Descriptions of fields that the command line treats differently from the API."""


def with_parameters(function: _Function) -> _Function:
    """Give a command an option for each field of GenerationParameters but the prompt; absent ones arrive as None."""
    struct = inspect.type_info(GenerationParameters)
    assert isinstance(struct, inspect.StructType)
    for field in reversed(struct.fields):
        if field.name != ARGUMENT:
            function = _option(field)(function)
    return function


def parameters_of(stated: Mapping[str, str]) -> GenerationParameters:
    """Convert the options, in which text stands for numbers.

    Raises:
        InvalidRequest: naming every wrong option.
    """
    parameters, errors = convert_all(stated, GenerationParameters, strict=False)
    if parameters is None:
        raise InvalidRequest(errors)
    return parameters


def option_name(field: str) -> str:
    """Return the command-line option of a field: `--guidance-scale`."""
    return ARGUMENT.upper() if field == ARGUMENT else f"--{field.replace('_', '-')}"


def _option(field: inspect.Field) -> Callable[[_Function], _Function]:
    declared, description = _without_none(field.type), ""
    if isinstance(declared, inspect.Metadata):
        description = (declared.extra_json_schema or {}).get("description", "")
        declared = declared.type
    if isinstance(field.default, int):
        description += f" Default: {field.default}."
    nargs = len(declared.item_types) if isinstance(declared, inspect.TupleType) else 1
    names = [option_name(field.name), *([f"-{field.name}"] if len(field.name) == 1 else [])]
    return click.option(
        *names, field.name, nargs=nargs, metavar=_metavar(declared), help=_HELP.get(field.name, description)
    )


def _without_none(declared: inspect.Type) -> inspect.Type:
    if isinstance(declared, inspect.UnionType):
        return next(each for each in declared.types if not isinstance(each, inspect.NoneType))
    return declared


def _metavar(declared: inspect.Type) -> str:
    match declared:
        case inspect.LiteralType(values=values):
            return f"[{'|'.join(map(str, values))}]"
        case inspect.BoolType():
            return "[true|false]"
        case inspect.IntType():
            return "INTEGER"
        case inspect.TupleType():
            return "INTEGER INTEGER"
        case inspect.FloatType():
            return "NUMBER"
        case _:
            return "TEXT"
