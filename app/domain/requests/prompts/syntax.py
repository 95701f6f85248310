"""Prompts as people write them for AUTOMATIC1111's web UI: brackets that weigh words, `BREAK` that divides the text.

`(word)` weighs 1.1 times as much, `(word:1.3)` 1.3 times, `[word]` 1 / 1.1 times; nested brackets multiply. A backslash takes the
meaning off a bracket or off another backslash. A closing bracket without an opening one is text, an opening one without a closing
one ends with the prompt; round and square ones may overlap. Three things differ from the web UI: `BREAK` divides inside brackets
too, a backslash before any other letter stays, and a weight that is no number (`1.2.3`) is text.

No library is used, because none reads this syntax. compel 2.5, the one that is kept up and runs with transformers 5,
has a language of its own (`word++`, `(word)1.3`): of `(red:1.3)` it makes a text with a colon and a number in it, and
`[red]` stays text. It weighs by another rule than prompts of this syntax were written for, and it knows neither `BREAK`
nor a number of skipped layers. `sd_embed` is not on PyPI.
"""

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass

MAX_WEIGHT = 10.0
"""Beyond it, in either direction, weights are lowered: what they multiply would leave the range of 16-bit numbers."""

_ROUND = 1.1
_SQUARE = 1 / 1.1
_DIGITS = 6
"""Decimal places of a weight, so that brackets that cancel each other leave exactly 1."""
_TOKEN = re.compile(
    r"""
    \\(?P<escaped>[()\[\]\\])
    | :\s*(?P<weight>[+-]?(?:\d+(?:\.\d*)?|\.\d+))\s*\)
    | (?P<bracket>[()\[\]])
    | [^\\()\[\]:]+
    | [\\:]
    """,
    re.VERBOSE | re.ASCII,
)
_BREAK = re.compile(r"\bBREAK\b")


@dataclass(frozen=True, slots=True)
class Span:
    """A run of text in which every word weighs the same."""

    text: str
    weight: float = 1.0


Section = tuple[Span, ...]
"""Text between two BREAKs, neighbours of the same weight joined. White space around it stays."""


@dataclass(frozen=True, slots=True)
class Prompt:
    """A prompt, understood."""

    sections: tuple[Section, ...]
    """Chunks, at least one."""
    lowered: bool = False
    """Whether a weight was beyond MAX_WEIGHT."""


def parse_prompt(text: str, *, weighting: bool = True, breaks: bool = True) -> Prompt:
    """Parse a prompt. Takes time in proportion to its length, and never fails.

    Args:
        text: as a client wrote it.
        weighting: whether brackets and backslashes mean something; they are text otherwise.
        breaks: whether `BREAK` divides; it is a word otherwise.
    """
    pieces = list(_weighted(text)) if weighting else [Span(text)]
    bounded = [Span(piece.text, _bounded(piece.weight)) for piece in pieces]
    sections: list[list[Span]] = [[]]
    for span in bounded:
        first, *others = _BREAK.split(span.text) if breaks else [span.text]
        _append(sections[-1], Span(first, span.weight))
        for other in others:
            sections.append([])
            _append(sections[-1], Span(other, span.weight))
    return Prompt(
        sections=tuple(map(tuple, sections)),
        lowered=any(abs(piece.weight) > MAX_WEIGHT for piece in pieces),
    )


def _weighted(text: str) -> Iterator[Span]:
    """Yield runs of text with their weights, before any is joined or bounded."""
    tokens = list(_TOKEN.finditer(text))
    factors = _factors(tokens)
    products = {"(": [1.0], "[": [1.0]}  # of the brackets that are open, outermost first, each kind by itself
    for index, token in enumerate(tokens):
        kind = "(" if token["weight"] is not None else {")": "(", "]": "["}.get(token.group(), token.group())
        if index not in factors:
            yield Span(token["escaped"] or token.group(), products["("][-1] * products["["][-1])
        elif token["bracket"] in ("(", "["):
            products[kind].append(products[kind][-1] * factors[index])
        else:
            products[kind].pop()


def _factors(tokens: list[re.Match[str]]) -> dict[int, float]:
    """Find the factor of each pair of brackets, by the places of both among the tokens."""
    factors: dict[int, float] = {}
    rounds: list[int] = []
    squares: list[int] = []
    for index, token in enumerate(tokens):
        bracket, weight = token["bracket"], token["weight"]
        if bracket == "(":
            rounds.append(index)
        elif bracket == "[":
            squares.append(index)
        elif (bracket == ")" or weight is not None) and rounds:
            factors[index] = factors[rounds.pop()] = _ROUND if weight is None else float(weight)
        elif bracket == "]" and squares:
            factors[index] = factors[squares.pop()] = _SQUARE
    return factors | dict.fromkeys(rounds, _ROUND) | dict.fromkeys(squares, _SQUARE)


def _bounded(weight: float) -> float:
    if math.isnan(weight):  # more than any number, times nothing
        return 0.0
    return round(max(-MAX_WEIGHT, min(MAX_WEIGHT, weight)), _DIGITS)


def _append(section: list[Span], span: Span) -> None:
    if not span.text:
        return
    if section and section[-1].weight == span.weight:
        span = Span(section.pop().text + span.text, span.weight)
    section.append(span)
