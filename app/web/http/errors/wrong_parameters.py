"""Describes wrong path, query and header parameters under the names that the client sent, with the values allowed."""

from typing import Any

from litestar import Request
from litestar.enums import ParamType
from litestar.exceptions import ValidationException
from litestar.handlers import HTTPRouteHandler
from litestar.params import ParameterKwarg
from litestar.typing import FieldDefinition

from ....domain.errors import FieldError
from ....domain.shown import cut
from ....domain.validation import MAX_ERRORS, in_words, wrong_value
from .refusals import EMPTY_BODY


def wrong_parameters(request: Request[Any, Any, Any], error: ValidationException) -> list[FieldError]:
    """Return what is wrong with each parameter that Litestar refused."""
    found = error.extra if isinstance(error.extra, list) else []
    return [_wrong(request, entry) for entry in found[:MAX_ERRORS] if isinstance(entry, dict)] or [
        FieldError(field="request", message=cut(error.detail))
    ]


def _wrong(request: Request[Any, Any, Any], entry: dict[str, Any]) -> FieldError:
    argument, message = str(entry.get("key", "request")), in_words(str(entry.get("message", "is wrong")))
    if argument == "data":  # the one argument that is the body, which Litestar decodes only if there is one
        return FieldError(field="body", message=EMPTY_BODY)
    declared = _declared(request, argument)
    if declared is None:
        return FieldError(field=cut(argument), message=cut(message))
    definition = declared.kwarg_definition
    name = (definition.name if isinstance(definition, ParameterKwarg) else None) or declared.name
    sent = _sent(request, name, getattr(definition, "param_type", ParamType.QUERY))
    if sent is None:
        return FieldError(field=name, message="is required")
    return FieldError(
        field=name, message=wrong_value(sent, declared.annotation, strict=False) or f"{message}, got {cut(sent)!r}"
    )


def _declared(request: Request[Any, Any, Any], argument: str) -> FieldDefinition | None:
    handler = request.scope.get("route_handler")
    return handler.parsed_fn_signature.parameters.get(argument) if isinstance(handler, HTTPRouteHandler) else None


def _sent(request: Request[Any, Any, Any], name: str, kind: ParamType) -> str | None:
    source = {ParamType.HEADER: request.headers, ParamType.COOKIE: request.cookies, ParamType.PATH: request.path_params}
    value = source.get(kind, request.query_params).get(name)
    return None if value is None else str(value)
