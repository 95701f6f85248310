"""Finds the name that another spelling means, and the name that a wrong one most likely means."""

import difflib
import itertools
import unicodedata
from collections.abc import Iterable, Sequence

from .shown import MAX_SHOWN_CHARS

_EXTENSION = ".safetensors"
_MAX_TYPOS = 3
"""Letters by which the length of a name may differ from that of a misspelt one."""
_MAX_COMPARED = 100
"""Names of about that length that are compared letter by letter, which takes up to 0.4 ms each if they repeat few letters."""


def matching_name(name: str, available: Iterable[str]) -> str | None:
    """Return the available name that a spelling means: exactly this one, else the only one that differs in case alone."""
    every = list(available)
    if name in every:
        return name
    folded = name.casefold()
    same = [other for other in every if other.casefold() == folded]
    return same[0] if len(same) == 1 else None


def likely_name(name: str, available: Sequence[str]) -> str | None:
    """Return the available name that differs in case, blanks, punctuation or the extension alone, or is spelled much like it.

    Args:
        name: from outside, of any length.
        available: names that exist.
    """
    if len(name) > 4 * MAX_SHOWN_CHARS:
        return None
    wanted = _letters(name)
    same = next((other for other in available if wanted and _letters(other) == wanted), None)
    if same is not None:
        return same
    if len(name) > MAX_SHOWN_CHARS:
        return None
    near = (other for other in available if abs(len(other) - len(name)) <= _MAX_TYPOS)
    close = difflib.get_close_matches(name.casefold(), itertools.islice(near, _MAX_COMPARED), n=1, cutoff=0.75)
    return close[0] if close else None


def _letters(name: str) -> str:
    folded = unicodedata.normalize("NFKC", name).casefold().strip().removesuffix(_EXTENSION)
    return "".join(filter(str.isalnum, folded))
