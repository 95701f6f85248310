"""Numbers that a config of PEFT states for some layers: each for those whose names a pattern fits."""

import re
from collections.abc import Iterator, Mapping

from ...reading import NotServable
from .name_expression import NameExpression, UnservedExpression

_MOST_EXPRESSIONS = 64
"""Expressions of a config, each of which is tried on all layers. Names, of which diffusers writes hundreds, are looked up."""
_NAME = re.compile(r"\^?\w+(?:\.\w+)*")


class LayerPatterns:
    """The numbers of one field of a config, such as `alpha_pattern`. The first pattern that fits a layer counts."""

    def __init__(self, field: str, stated: Mapping[str, float]) -> None:
        """Read the patterns of a field.

        Raises:
            NotServable: a pattern is no expression that is served, or there are too many of them.
        """
        self._numbers = tuple(stated.values())
        self._names: dict[str, int] = {}
        self._expressions: dict[int, NameExpression] = {}
        for index, pattern in enumerate(stated):
            if _NAME.fullmatch(pattern):
                self._names[pattern] = index
            else:
                self._expressions[index] = _read(field, pattern)
        if len(self._expressions) > _MOST_EXPRESSIONS:
            raise NotServable(
                f"its {field} has {len(self._expressions)} regular expressions, the limit is {_MOST_EXPRESSIONS}. "
                "Write names of layers in it."
            )

    def number(self, layer: str) -> float | None:
        """Return the number of a layer by its dotted name; None if no pattern fits."""
        found = [self._names[name] for name in _patterns_by_name(layer) if name in self._names]
        found += [index for index, expression in self._expressions.items() if expression.fits(layer)]
        return self._numbers[min(found)] if found else None


def _read(field: str, pattern: str) -> NameExpression:
    try:
        return NameExpression(pattern)
    except UnservedExpression as problem:
        raise NotServable(
            f"its {field} has the regular expression {pattern[:80]!r}, which is not served: {problem}. "
            "Write names of layers in its place."
        ) from problem


def _patterns_by_name(layer: str) -> Iterator[str]:
    """Yield the names, as patterns, that fit a layer: its own from the start, or from behind any of its dots."""
    yield f"^{layer}"
    yield layer
    for dot in re.finditer(r"\.", layer):
        yield layer[dot.end() :]
