"""Tokenizes prompts in chunks of the length that the text encoders take."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from transformers import CLIPTokenizer

from ...domain.models.embeddings import EmbeddingUse
from ...domain.requests.prompts.embedding_words import split_words
from ...domain.requests.prompts.syntax import MAX_WEIGHT, Span, parse_prompt

MAX_CHUNKS = 8
"""Chunks of one prompt that are used; the UNet attends to every one of them in every step."""

_NEAR_END = 20
"""Number of last tokens among which a chunk ends at its last comma, as in AUTOMATIC1111's web UI."""
_COMMA = ",</w>"

_PLACEHOLDER = 0
"""Id in the places of an embedding's vectors: any but that of the end, which the pooled embedding is looked up by."""


@dataclass(frozen=True, slots=True)
class _Token:
    """A token, or the place of a vector of an embedding."""

    id: int
    weight: float
    use: EmbeddingUse | None = None
    vector: int = 0
    """Number of the vector in its embedding."""


@dataclass(frozen=True, slots=True)
class Chunk:
    """Input of one call of a text encoder: a token for each of its positions, with start, end and padding."""

    ids: tuple[int, ...]
    weights: tuple[float, ...]
    """One for each id; start, end and padding weigh 1."""
    inserted: tuple[tuple[int, EmbeddingUse], ...] = ()
    """Places at which the vectors of embeddings begin."""


@dataclass(frozen=True, slots=True)
class Tokens:
    """A prompt as token ids."""

    chunks: tuple[Chunk, ...]
    """Chunks, from 1 to MAX_CHUNKS."""
    count: int
    """Tokens of the whole prompt, the cut ones included; without start, end and padding."""
    ignored: tuple[str, ...]
    """Cuts and changes, as ends of sentences that begin with the name of the prompt's field."""


def tokens_of(
    tokenizer: CLIPTokenizer, prompt: str, *, weighting: bool, long: bool, embeddings: Sequence[EmbeddingUse] = ()
) -> Tokens:
    """Tokenize a prompt.

    Args:
        tokenizer: tokenizer of the text encoder.
        prompt: text of the client.
        weighting: whether brackets weigh words.
        long: whether more than one chunk may be used; otherwise `BREAK` is a word, and the text is cut to one chunk.
        embeddings: whose names stand for their vectors; no chunk ends inside one.
    """
    parsed = parse_prompt(prompt, weighting=weighting, breaks=long)
    room = tokenizer.model_max_length - 2  # without the start and end tokens
    sections = [list(_tokens(tokenizer, section, embeddings)) for section in parsed.sections]
    if len(sections) > 1 and not sections[-1]:
        del sections[-1]  # nothing follows the last BREAK
    comma: Any = tokenizer.convert_tokens_to_ids(_COMMA)
    if long:
        pieces = [piece for section in sections for piece in _pieces(section, room, comma)]
    else:
        end = _whole(sections[0], room) if sections[0][room:] else room
        pieces = [sections[0][:end], sections[0][end:]] if sections[0][end:] else [sections[0]]
    most = MAX_CHUNKS if long else 1
    ignored = _ignored(tokenizer, pieces, most, room) + ([_LOWERED] if parsed.lowered else [])
    return Tokens(
        chunks=tuple(_chunk(tokenizer, piece, room) for piece in pieces[:most]),
        count=sum(len(piece) for piece in pieces),
        ignored=tuple(ignored),
    )


_LOWERED = f"has weights beyond {MAX_WEIGHT:g}; {MAX_WEIGHT:g} was used."


def _tokens(tokenizer: CLIPTokenizer, section: Sequence[Span], embeddings: Sequence[EmbeddingUse]) -> Iterator[_Token]:
    for span in section:
        for piece in split_words(span.text, embeddings):
            if isinstance(piece, str):
                ids: list[int] = tokenizer(piece, add_special_tokens=False, verbose=False).input_ids
                yield from (_Token(each, span.weight) for each in ids)
            else:
                yield from (_Token(_PLACEHOLDER, span.weight, piece, i) for i in range(piece.reading.vectors))


def _pieces(tokens: Sequence[_Token], room: int, comma: int) -> Iterator[list[_Token]]:
    """Split tokens into pieces after the last comma near the end of each, or in the middle of the sentence.

    A comma just behind the limit begins the next piece, as in AUTOMATIC1111's web UI.
    """
    begin = 0
    while len(tokens) - begin > room:
        end = begin + room
        if not _is_comma(tokens[end], comma):
            commas = (place for place in range(end - 1, end - 1 - _NEAR_END, -1) if _is_comma(tokens[place], comma))
            end = _whole(tokens, next(commas, end - 1) + 1)
        yield list(tokens[begin:end])
        begin = end
    yield list(tokens[begin:])


def _is_comma(token: _Token, comma: int) -> bool:
    return token.id == comma and token.use is None


def _whole(tokens: Sequence[_Token], end: int) -> int:
    """Return the end of a piece that would otherwise end inside an embedding: before it."""
    return end - tokens[end].vector


def _chunk(tokenizer: CLIPTokenizer, piece: Sequence[_Token], room: int) -> Chunk:
    """Add start, end and padding, as the tokenizer itself does for a text that fits."""
    ids = [tokenizer.bos_token_id, *(token.id for token in piece), tokenizer.eos_token_id]
    ids += [tokenizer.pad_token_id] * (room - len(piece))
    weights = (1.0, *(token.weight for token in piece), *[1.0] * (room - len(piece) + 1))
    begins = ((place, token.use) for place, token in enumerate(piece, 1) if token.vector == 0)
    inserted = tuple((place, use) for place, use in begins if use is not None)
    return Chunk(ids=tuple(ids), weights=weights, inserted=inserted)


def _ignored(tokenizer: CLIPTokenizer, pieces: Sequence[Sequence[_Token]], most: int, room: int) -> list[str]:
    unused = [token for piece in pieces[most:] for token in piece]
    if not unused:
        return []
    total = sum(len(piece) for piece in pieces)
    fit = f"{room} fit" if most == 1 else f"{most} chunks of at most {room} are used"
    lost = _decoded(tokenizer, unused)
    return [f"is {total} tokens long and {fit}; this end of it was not used: {lost!r}."]


def _decoded(tokenizer: CLIPTokenizer, tokens: Sequence[_Token]) -> str:
    """Return the text of tokens, with the names of embeddings."""
    texts = (
        str(tokenizer.decode([token.id for token in group])) if use is None else f"{use.name} "
        for use, group in groupby(tokens, key=lambda token: token.use)
    )
    return "".join(texts).strip()
