"""Completes the OpenAPI schemas of bodies by what Litestar leaves out: closed objects, the configured limits, null."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from litestar.openapi.spec import Reference, Schema
from litestar.openapi.spec.enums import OpenAPIType
from litestar.typing import FieldDefinition

from ....domain.requests.parameters import MAX_SEED, GenerationParameters, Limits
from ....domain.requests.pictures.picture import FileContent
from ....domain.requests.upscaling.upscale_parameters import UpscaleParameters
from ..errors.problems import Problem


class BodySchemas:
    """Makes the schemas of parameters and of problem documents. The plugin has Litestar ask it first."""

    def __init__(self, limits: Limits, others: Iterable[type] = ()) -> None:
        """Make schemas with the configured limits.

        Args:
            limits: of the settings.
            others: bodies of other dialects whose fields have the names of the native parameters.
        """
        self._bounds = _bounds(limits)
        self._bodies = frozenset[Any]((GenerationParameters, UpscaleParameters, *others))

    def supports(self, field: FieldDefinition) -> bool:
        """Tell whether the field is one of these types."""
        return field.annotation is Problem or is_file(field) or self._is_body(field)

    def complete(self, field: FieldDefinition, schema: Schema) -> Schema:
        """Complete a schema that Litestar has made, in place."""
        for name, property_schema in _properties(schema):
            # Code generators take a property with a default for one that is always there. Descriptions state defaults.
            property_schema.default = None
            if self._is_body(field):
                _bound(property_schema, {} if field.annotation is UpscaleParameters else self._bounds.get(name, {}))
                if name not in (schema.required or ()):
                    _allow_null(property_schema)
        if self._is_body(field):
            schema.additional_properties = False
        return schema

    def _is_body(self, field: FieldDefinition) -> bool:
        return isinstance(field.annotation, type) and field.annotation in self._bodies


def is_file(field: FieldDefinition) -> bool:
    """Tell whether the field holds a file, in base64."""
    return field.annotation is FileContent


def file_schema() -> Schema:
    """Make the schema of a file."""
    return Schema(type=OpenAPIType.STRING)


def _bounds(limits: Limits) -> Mapping[str, Mapping[str, int]]:
    side = {"minimum": limits.min_side_px, "maximum": limits.max_side_px}
    text = {"max_length": limits.max_prompt_chars}
    return {
        "prompt": text,
        "negative_prompt": text,
        "prompt_2": text,
        "negative_prompt_2": text,
        "num_inference_steps": {"maximum": limits.max_steps},
        "width": side,
        "height": side,
        "n": {"maximum": limits.max_n},
        "seed": {"maximum": MAX_SEED},
        # Litestar leaves out a bound of 0 of optional fields.
        "guidance_scale": {"minimum": 0},
        "guidance_rescale": {"minimum": 0},
        "clip_skip": {"minimum": 0},
    }


def _properties(schema: Schema) -> Iterator[tuple[str, Schema]]:
    for name, found in (schema.properties or {}).items():
        if not isinstance(found, Reference):
            yield name, found


def _bound(schema: Schema, bounds: Mapping[str, int]) -> None:
    for keyword, value in bounds.items():
        setattr(schema, keyword, value)
    for option in schema.one_of or ():
        if isinstance(option, Schema) and option.prefix_items:
            option.min_items = option.max_items = len(option.prefix_items)


def _allow_null(schema: Schema) -> None:
    """Add null to the types of a property, because null is as good as absent."""
    if isinstance(schema.type, OpenAPIType):
        schema.type = [schema.type, OpenAPIType.NULL]
        if schema.enum is not None:
            choices: list[Any] = [*schema.enum, None]
            schema.enum = choices
