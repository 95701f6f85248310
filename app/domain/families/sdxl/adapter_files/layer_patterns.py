"""Numbers that a config of PEFT states for some layers: each for those whose names a pattern fits."""

import re
import time
from collections.abc import Iterator, Mapping

import regex

from ...reading import NotServable

_MOST_EXPRESSIONS = 64
"""Expressions of a config, each of which is tried on all layers. Names, of which diffusers writes hundreds, are looked up."""
_MOST_LENGTH = 256
"""Characters of an expression."""
_MOST_S = 2.0
"""Seconds that the expressions of a field may take in all: a short one of a hostile file can keep a matcher busy for hours."""
_NAME = re.compile(r"\^?\w+(?:\.\w+)*")


class LayerPatterns:
    """The numbers of one field of a config, such as `alpha_pattern`. The first pattern that fits a layer counts."""

    def __init__(self, field: str, stated: Mapping[str, float]) -> None:
        """Read the patterns of a field.

        Raises:
            NotServable: a pattern is no regular expression, too long, or there are too many of them.
        """
        self._field = field
        self._numbers = tuple(stated.values())
        self._names = {pattern: index for index, pattern in enumerate(stated) if _NAME.fullmatch(pattern)}
        self._expressions = {
            index: _compiled(field, pattern) for index, pattern in enumerate(stated) if pattern not in self._names
        }
        self._left_s = _MOST_S
        if len(self._expressions) > _MOST_EXPRESSIONS:
            raise NotServable(
                f"its {field} has {len(self._expressions)} regular expressions, the limit is {_MOST_EXPRESSIONS}. "
                "Write names of layers in it."
            )

    def number(self, layer: str) -> float | None:
        """Return the number of a layer by its dotted name; None if no pattern fits.

        Raises:
            NotServable: the expressions take too long.
        """
        found = [self._names[name] for name in _patterns_by_name(layer) if name in self._names]
        found += [index for index, expression in self._expressions.items() if self._fits(expression, layer)]
        return self._numbers[min(found)] if found else None

    def _fits(self, expression: "regex.Pattern[str]", layer: str) -> bool:
        begun = time.monotonic()
        try:
            return expression.match(layer, timeout=max(self._left_s, 1e-6)) is not None
        except TimeoutError as error:
            raise NotServable(
                f"the regular expressions of its {self._field} take longer than {_MOST_S:g} s. "
                "Write names of layers in their place."
            ) from error
        finally:
            self._left_s -= time.monotonic() - begun


def _compiled(field: str, pattern: str) -> "regex.Pattern[str]":
    if len(pattern) > _MOST_LENGTH:
        raise NotServable(
            f"its {field} has a regular expression of {len(pattern)} characters, the limit is {_MOST_LENGTH}. "
            "Write names of layers in it."
        )
    try:
        return regex.compile(
            rf"(.*\.)?({pattern})$"
        )  # as PEFT matches it: from the start, or from behind any of its dots
    except (regex.error, RecursionError, OverflowError) as error:
        raise NotServable(f"its {field} has {pattern[:80]!r}, which is no regular expression: {error}") from error


def _patterns_by_name(layer: str) -> Iterator[str]:
    """Yield the names, as patterns, that fit a layer: its own from the start, or from behind any of its dots."""
    yield f"^{layer}"
    yield layer
    for dot in re.finditer(r"\.", layer):
        yield layer[dot.end() :]
