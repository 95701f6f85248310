"""Finds the embeddings that a text names: by the bare name, as in AUTOMATIC1111's web UI, or by `embedding:name`, as in ComfyUI.

A name is found as a whole word in any case; white space in it may be any white space. `embedding:` may be followed by folders and
by the suffix of the file, which do not matter. The web UI compares tokens rather than letters, which finds the same words.
"""

import re
from collections.abc import Iterator, Sequence
from functools import lru_cache

from ...models.embeddings import EmbeddingUse

_MAX_NAMES = 5000
_NO_MATCH = re.compile(r"(?!)")
_ESCAPED = re.compile(r"\\([()\[\]\\])")
UNKNOWN_EMBEDDING = re.compile(r"\bembedding:[^\s,()\[\]|:]{1,200}", re.IGNORECASE)
"""What is left of `embedding:name` if there is no such embedding."""


def split_words(text: str, embeddings: Sequence[EmbeddingUse]) -> Iterator[str | EmbeddingUse]:
    """Yield a text in pieces: what lies between the names of embeddings, and the embeddings."""
    if not embeddings:
        yield text
        return
    by_name = {_spelling(use.name): use for use in embeddings}
    begin = 0
    for found in _pattern(tuple(by_name)).finditer(text):
        if found.start() > begin:
            yield text[begin : found.start()]
        yield by_name[_spelling(found["name"] or found["bare"])]
        begin = found.end()
    if begin < len(text):
        yield text[begin:]


def named_in(texts: Sequence[str], embeddings: Sequence[EmbeddingUse]) -> tuple[EmbeddingUse, ...]:
    """Return the embeddings that texts name, once each, in alphabetical order."""
    pieces = (piece for text in texts for piece in split_words(_ESCAPED.sub(r"\1", text), embeddings))
    found = {piece for piece in pieces if not isinstance(piece, str)}
    return tuple(sorted(found, key=lambda use: use.name))


def without_names(text: str, embeddings: Sequence[EmbeddingUse]) -> str:
    """Return what a text says beside the names of embeddings."""
    return "".join(piece for piece in split_words(text, embeddings) if isinstance(piece, str))


def _spelling(name: str) -> str:
    return " ".join(name.lower().split())


@lru_cache(maxsize=64)
def _pattern(spellings: tuple[str, ...]) -> re.Pattern[str]:
    if not spellings:
        return _NO_MATCH
    longest_first = sorted(spellings, key=len, reverse=True)[:_MAX_NAMES]
    names = "|".join(r"\s+".join(map(re.escape, spelling.split(" "))) for spelling in longest_first)
    return re.compile(
        rf"\bembedding:(?:[\w.\ -]{{1,100}}[/\\]){{0,4}}(?P<name>{names})(?:\.(?:safetensors|pt|bin))?(?!\w)"
        rf"|(?<!\w)(?P<bare>{names})(?!\w)",
        re.IGNORECASE,
    )
