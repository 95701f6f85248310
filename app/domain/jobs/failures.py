"""Errors of jobs as plain values, and back."""

from collections.abc import Iterator

import msgspec

from ..errors import DiffusionError, FieldError
from .record import Failure

_MESSAGE = "message"


def failure_of(error: DiffusionError) -> Failure:
    """Express an error in plain values."""
    facts = {name: value for name, value in vars(error).items() if name != _MESSAGE}
    return Failure(code=error.code, message=error.message, facts=msgspec.to_builtins(facts))


def error_of(failure: Failure) -> DiffusionError:
    """Make the error that a failure was made of; an internal one if this version does not know its code."""
    kind = next((kind for kind in _kinds(DiffusionError) if kind.code == failure.code), DiffusionError)
    error = kind.__new__(kind, failure.message)
    # Not by its `__init__`, which would make the message anew from other arguments.
    DiffusionError.__init__(error, failure.message)
    for name, value in failure.facts.items():
        setattr(error, name, _restored(name, value))
    return error


def _kinds(kind: type[DiffusionError]) -> Iterator[type[DiffusionError]]:
    yield kind
    for narrower in kind.__subclasses__():
        yield from _kinds(narrower)


def _restored(name: str, value: object) -> object:
    if name == "errors":
        return msgspec.convert(value, tuple[FieldError, ...])
    return tuple(value) if isinstance(value, list) else value  # pyright: ignore[reportUnknownArgumentType, reportUnknownVariableType]
