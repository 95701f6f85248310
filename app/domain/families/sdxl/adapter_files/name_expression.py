"""Regular expressions for names of layers, matched in a time that no expression makes long.

`re` backtracks: a dozen characters out of a file can keep it busy for hours. Here all places that an expression reaches in a name
advance together, as bits of a number (Thompson, Regular expression search algorithm, CACM 11(6), 1968), so the time grows with
the lengths of the two.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

_MOST_LENGTH = 256
"""Characters of an expression, which also limits how deep its groups are nested."""
_TOKEN = re.compile(
    r"(?P<character>\\[dw]|\\[^\w\s]|\[\^?(?:\w-\w|[\w.]|\\[dw.-])+-?\]|[\w.-])(?:(?P<count>[*+?])\??)?"
    r"|(?P<open>\((?:\?:)?)|(?P<close>\))(?P<optional>\?\??)?|(?P<bar>\|)|(?P<anchor>[\^$])"
)


class UnservedExpression(ValueError):
    """An expression uses more of the syntax than is served, or is none; the message says what is served."""


class NameExpression:
    """An expression that fits a name from its start or from behind any of its dots, to its end, as PEFT matches it."""

    def __init__(self, expression: str) -> None:
        r"""Read an expression of characters, `.`, `\d`, `\w`, `[ ]`, each with `*`, `+` or `?`, of `( | )`, `( | )?`, `^`, `$`.

        Raises:
            UnservedExpression: it is another one, or too long.
        """
        if len(expression) > _MOST_LENGTH:
            raise UnservedExpression(f"it has {len(expression)} characters, the limit is {_MOST_LENGTH}")
        self._whole = _read_branches(_tokens(expression), nested=False)

    def fits(self, name: str) -> bool:
        """Tell whether it fits a name."""
        starts = 1 | sum(1 << index + 1 for index, character in enumerate(name) if character == ".")
        return bool(self._whole.after(starts, _Name(name)) >> len(name) & 1)


class _Name:
    """A name, and where its characters are: bit i stands for the place before character i."""

    def __init__(self, name: str) -> None:
        self.end = 1 << len(name)
        self._places: dict[str, int] = {}
        for index, character in enumerate(name):
            self._places[character] = self._places.get(character, 0) | 1 << index

    def places(self, fits: re.Pattern[str]) -> int:
        """Return the places before characters that fit."""
        return sum(places for character, places in self._places.items() if fits.fullmatch(character))


@dataclass(frozen=True, slots=True)
class _Character:
    fitting: re.Pattern[str]
    optional: bool
    repeated: bool

    def after(self, places: int, name: _Name) -> int:
        """Return the places that are reached from some others."""
        fitting = name.places(self.fitting)
        reached, new = (places if self.optional else 0), places
        while new := (new & fitting) << 1 & ~reached:
            reached |= new
            if not self.repeated:
                break
        return reached


@dataclass(frozen=True, slots=True)
class _Anchor:
    at_end: bool

    def after(self, places: int, name: _Name) -> int:
        return places & (name.end if self.at_end else 1)


@dataclass(frozen=True, slots=True)
class _Branches:
    sequences: "tuple[tuple[_Part, ...], ...]"
    optional: bool

    def after(self, places: int, name: _Name) -> int:
        reached = places if self.optional else 0
        for sequence in self.sequences:
            ends = places
            for part in sequence:
                ends = part.after(ends, name)
            reached |= ends
        return reached


_Part = _Character | _Anchor | _Branches


def _tokens(expression: str) -> Iterator[re.Match[str]]:
    place = 0
    while place < len(expression):
        token = _TOKEN.match(expression, place)
        if token is None:
            raise UnservedExpression(r"only names, . \d \w [ ] ( | ) ^ $ and * + ? behind one character are served")
        yield token
        place = token.end()


def _read_branches(tokens: Iterator[re.Match[str]], *, nested: bool) -> _Branches:
    sequences: list[list[_Part]] = [[]]
    for token in tokens:
        if token["close"]:
            if not nested:
                break
            return _Branches(tuple(map(tuple, sequences)), optional=bool(token["optional"]))
        if token["bar"]:
            sequences.append([])
        else:
            sequences[-1].append(_read_part(token, tokens))
    else:
        if not nested:
            return _Branches(tuple(map(tuple, sequences)), optional=False)
    raise UnservedExpression("its parentheses are not balanced")


def _read_part(token: re.Match[str], tokens: Iterator[re.Match[str]]) -> _Part:
    if token["open"]:
        return _read_branches(tokens, nested=True)
    if token["anchor"]:
        return _Anchor(at_end=token["anchor"] == "$")
    try:
        fitting = re.compile(token["character"])
    except re.error as problem:  # a range of characters that runs backwards
        raise UnservedExpression(str(problem)) from problem
    count = token["count"] or ""
    return _Character(fitting, optional=count in ("*", "?"), repeated=count in ("*", "+"))
