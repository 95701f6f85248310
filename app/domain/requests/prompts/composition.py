r"""Prompts of several parts, `a cat AND a dog :1.2`: each is a row of the guidance, with a weight of its own.

Composable diffusion (Liu et al. 2022, arXiv:2206.01714), written as for AUTOMATIC1111's web UI: `AND` in capitals divides, and a
colon with a number at the end of a part weighs it. Two things differ from the web UI: a prompt without `AND` has no such weight,
so that one that ends with `16:9` is no ninefold guidance; and parts of the same text are one part with the sum of their weights,
which gives the same picture with fewer rows.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from .syntax import MAX_WEIGHT

_AND = re.compile(r"\bAND\b")
_NUMBER = re.compile(r"[-+]?(?:[0-9]+\.?|[0-9]*\.[0-9]+)")


@dataclass(frozen=True, slots=True)
class Part:
    """One part of a prompt, for each of the two prompts of a request."""

    prompt: str
    prompt_2: str
    weight: float = 1.0


class UnequalParts(ValueError):
    """The two prompts of a request cannot be paired part by part; the message says why."""


def composed_of(prompt: str, prompt_2: str) -> tuple[Part, ...]:
    """Divide the two prompts of a request into parts, at least one, with weights up to MAX_WEIGHT in either direction.

    The weights are those of `prompt`, or of `prompt_2` if only that has parts; the prompt without parts then goes with each.
    Parts of weight 0 have no effect, and are left out if others are left.

    Raises:
        UnequalParts: both have parts, and not equally many.
    """
    if "AND" not in prompt and "AND" not in prompt_2:  # nearly always; asked for often while requests wait
        return (Part(prompt, prompt_2),)
    one, two = _parts(prompt), _parts(prompt_2)
    if len(one) != len(two) and 1 not in (len(one), len(two)):
        raise UnequalParts(
            f"must have as many parts as prompt, or one: AND divides prompt into {len(one)} and prompt_2 into {len(two)}"
        )
    count = max(len(one), len(two))
    weights = [weight for _, weight in (one if len(one) == count else two)]
    return _joined(_texts(one, count), _texts(two, count), weights)


def lowered_weights(parts: Sequence[Part]) -> bool:
    """Return whether a weight is at the limit, to which larger ones are lowered."""
    return any(abs(part.weight) >= MAX_WEIGHT for part in parts)


def _parts(text: str) -> list[tuple[str, float]]:
    sections = _AND.split(text)
    return [_weighted(section) for section in sections] if len(sections) > 1 else [(text, 1.0)]


def _weighted(section: str) -> tuple[str, float]:
    text, colon, end = section.rstrip().rpartition(":")
    if colon and _NUMBER.fullmatch(end.strip()):
        return text.strip(), float(end)
    return section.strip(), 1.0


def _texts(parts: Sequence[tuple[str, float]], count: int) -> list[str]:
    texts = [text for text, _ in parts]
    return texts if len(texts) == count else texts * count


def _joined(one: Sequence[str], two: Sequence[str], weights: Sequence[float]) -> tuple[Part, ...]:
    sums: dict[tuple[str, str], float] = {}
    for *texts, weight in zip(one, two, weights, strict=True):
        pair = (texts[0], texts[1])
        sums[pair] = sums.get(pair, 0.0) + weight
    parts = [Part(*pair, max(-MAX_WEIGHT, min(MAX_WEIGHT, total))) for pair, total in sums.items()]
    return tuple(part for part in parts if part.weight) or (parts[0],)
