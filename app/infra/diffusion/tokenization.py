"""Tokenizes prompts in chunks of the length that the text encoders take."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from transformers import CLIPTokenizer

from ...domain.requests.prompt_syntax import MAX_WEIGHT, Span, parse_prompt

MAX_CHUNKS = 8
"""Chunks of one prompt that are used; the UNet attends to every one of them in every step."""

_NEAR_END = 20
"""Number of last tokens among which a chunk ends at its last comma, as in AUTOMATIC1111's web UI."""
_COMMA = ",</w>"

_Token = tuple[int, float]
"""Its id in the vocabulary, and its weight."""


@dataclass(frozen=True, slots=True)
class Chunk:
    """Input of one call of a text encoder: a token for each of its positions, with start, end and padding."""

    ids: tuple[int, ...]
    weights: tuple[float, ...]
    """One for each id; start, end and padding weigh 1."""


@dataclass(frozen=True, slots=True)
class Tokens:
    """A prompt as token ids."""

    chunks: tuple[Chunk, ...]
    """Chunks, from 1 to MAX_CHUNKS."""
    count: int
    """Tokens of the whole prompt, the cut ones included; without start, end and padding."""
    ignored: tuple[str, ...]
    """Cuts and changes, as ends of sentences that begin with the name of the prompt's field."""


def tokens_of(tokenizer: CLIPTokenizer, prompt: str, *, weighting: bool, long: bool) -> Tokens:
    """Tokenize a prompt.

    Args:
        tokenizer: tokenizer of the text encoder.
        prompt: text of the client.
        weighting: whether brackets weigh words.
        long: whether more than one chunk may be used; otherwise `BREAK` is a word, and the text is cut to one chunk.
    """
    parsed = parse_prompt(prompt, weighting=weighting, breaks=long)
    room = tokenizer.model_max_length - 2  # without the start and end tokens
    sections = [list(_tokens(tokenizer, section)) for section in parsed.sections]
    if len(sections) > 1 and not sections[-1]:
        del sections[-1]  # nothing follows the last BREAK
    comma: Any = tokenizer.convert_tokens_to_ids(_COMMA)
    if long:
        pieces = [piece for section in sections for piece in _pieces(section, room, comma)]
    else:
        pieces = [sections[0][:room], sections[0][room:]] if sections[0][room:] else [sections[0]]
    most = MAX_CHUNKS if long else 1
    ignored = _ignored(tokenizer, pieces, most, room) + ([_LOWERED] if parsed.lowered else [])
    return Tokens(
        chunks=tuple(_chunk(tokenizer, piece, room) for piece in pieces[:most]),
        count=sum(len(piece) for piece in pieces),
        ignored=tuple(ignored),
    )


_LOWERED = f"has weights beyond {MAX_WEIGHT:g}; {MAX_WEIGHT:g} was used."


def _tokens(tokenizer: CLIPTokenizer, section: Sequence[Span]) -> Iterator[_Token]:
    for span in section:
        ids: list[int] = tokenizer(span.text, add_special_tokens=False, verbose=False).input_ids
        yield from ((each, span.weight) for each in ids)


def _pieces(tokens: Sequence[_Token], room: int, comma: int) -> Iterator[list[_Token]]:
    """Split tokens into pieces after the last comma near the end of each, or in the middle of the sentence.

    A comma just behind the limit begins the next piece, as in AUTOMATIC1111's web UI.
    """
    begin = 0
    while len(tokens) - begin > room:
        end = begin + room
        if tokens[end][0] != comma:
            commas = (place for place in range(end - 1, end - 1 - _NEAR_END, -1) if tokens[place][0] == comma)
            end = next(commas, end - 1) + 1
        yield list(tokens[begin:end])
        begin = end
    yield list(tokens[begin:])


def _chunk(tokenizer: CLIPTokenizer, piece: Sequence[_Token], room: int) -> Chunk:
    """Add start, end and padding, as the tokenizer itself does for a text that fits."""
    ids = [tokenizer.bos_token_id, *(each for each, _ in piece), tokenizer.eos_token_id]
    ids += [tokenizer.pad_token_id] * (room - len(piece))
    weights = (1.0, *(weight for _, weight in piece), *[1.0] * (room - len(piece) + 1))
    return Chunk(ids=tuple(ids), weights=weights)


def _ignored(tokenizer: CLIPTokenizer, pieces: Sequence[Sequence[_Token]], most: int, room: int) -> list[str]:
    unused = [each for piece in pieces[most:] for each, _ in piece]
    if not unused:
        return []
    total = sum(len(piece) for piece in pieces)
    fit = f"{room} fit" if most == 1 else f"{most} chunks of at most {room} are used"
    lost = str(tokenizer.decode(unused)).strip()
    return [f"is {total} tokens long and {fit}; this end of it was not used: {lost!r}."]
