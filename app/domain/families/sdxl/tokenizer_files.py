"""Reads the files of a CLIP tokenizer in a diffusers folder, as transformers 4 and 5 write them."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, TypeVar

import msgspec
from msgspec import Meta

from ..json_config import decode_config
from ..reading import NotServable, ReadConfig

_Id = Annotated[int, Meta(ge=0, lt=10_000_000)]
MAX_TOKENS = 77
"""Tokens of a text with start and end, if no config says it."""
SPECIAL_TOKENS = ("bos_token", "eos_token", "unk_token", "pad_token")
USUAL_TOKENS: Mapping[str, str] = {
    "bos_token": "<|startoftext|>",
    "eos_token": "<|endoftext|>",
    "unk_token": "<|endoftext|>",
}
USUAL_PADDING: Mapping[str, str] = {"tokenizer": "<|endoftext|>", "tokenizer_2": "!"}
"""Tokens that SDXL's own tokenizers pad with."""
SERVED_VALUES: Mapping[str, tuple[object, ...]] = {
    "padding_side": ("right",),
    "truncation_side": ("right",),
    "split_special_tokens": (False,),
    "additional_special_tokens": ([], None),
    "extra_special_tokens": ([], {}, None),
}
"""Values of `tokenizer_config.json` that are served; SDXL's tokenizers have no others."""
HARMLESS_KEYS: Mapping[str, str] = {
    "do_lower_case": "not read by transformers 5, whose CLIPTokenizer always lowers",
    "add_prefix_space": "not read by CLIPTokenizer",
    "errors": "read in decoding only",
    "clean_up_tokenization_spaces": "read in decoding only",
    "tokenizer_class": "the class is that of model_index.json",
    "name_or_path": "says what wrote the file",
    "special_tokens_map_file": "says what wrote the file",
    "backend": "says what wrote the file",
    "is_local": "says what wrote the file",
    "local_files_only": "says what wrote the file",
    "model_input_names": "only token ids are used",
    "chat_template": "not read in tokenization",
    "add_bos_token": "start and end are always added here, as CLIPTokenizer does",
    "add_eos_token": "start and end are always added here, as CLIPTokenizer does",
}
"""Keys of `tokenizer_config.json` that have no influence on the picture, and why."""


class AddedToken(msgspec.Struct, frozen=True, kw_only=True):
    """Text of an added token, and how it is found; see `tokenizers.AddedToken`."""

    content: Annotated[str, Meta(min_length=1)]
    single_word: bool = False
    lstrip: bool = False
    rstrip: bool = False
    normalized: bool = True
    special: bool = False


class _ListedToken(AddedToken, frozen=True, kw_only=True):
    """An entry of `added_tokens` in a `tokenizer.json`."""

    id: _Id


class _Model(msgspec.Struct, frozen=True, kw_only=True):
    vocab: dict[str, _Id]
    merges: list[str | tuple[str, str]]


class _TokenizerJson(msgspec.Struct, frozen=True, kw_only=True):
    model: _Model
    added_tokens: list[_ListedToken] = []


@dataclass(frozen=True, slots=True, kw_only=True)
class Vocabulary:
    """Tokens and merges of byte pair encoding."""

    ids: Mapping[str, int]
    merges: tuple[tuple[str, str], ...]
    added: Mapping[int, AddedToken]
    """Added tokens of a `tokenizer.json`, by their ids."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenizerOptions:
    """Options of a tokenizer."""

    special: Mapping[str, str]
    """Text of each of SPECIAL_TOKENS."""
    max_tokens: int
    added: Mapping[int, AddedToken] | None
    """Added tokens by their ids; None: those of the vocabulary."""


def read_vocabulary(read: ReadConfig, name: str) -> Vocabulary | None:
    """Read the vocabulary of a tokenizer's folder, from `tokenizer.json` if it is there, as transformers does; None without one.

    Raises:
        NotServable: a file is not as it should be.
    """
    whole = read(f"{name}/tokenizer.json")
    if whole is not None:
        return _from_tokenizer_json(f"{name}/tokenizer.json", whole)
    ids, merges = read(f"{name}/vocab.json"), read(f"{name}/merges.txt")
    if ids is None:
        return None
    if merges is None:
        raise NotServable(f"{name}/merges.txt is missing. Download the whole folder.")
    known = _converted(f"{name}/vocab.json", decode_config(f"{name}/vocab.json", ids), dict[str, _Id])
    return _checked(name, known, _merges_of(f"{name}/merges.txt", merges), {})


def read_options(read: ReadConfig, name: str) -> TokenizerOptions:
    """Read the options of a tokenizer: special tokens, length, added tokens.

    Raises:
        NotServable: a file is not as it should be, or holds a value that is not served.
    """
    config = _decoded(read, f"{name}/tokenizer_config.json")
    for key, served in SERVED_VALUES.items():
        if key in config and config[key] not in served:
            raise NotServable(
                f"{name}/tokenizer_config.json sets {key} to {str(config[key])[:80]!r}; only {served[0]!r} is served."
            )
    return TokenizerOptions(
        special=dict(_special(read, name, config)),
        max_tokens=_max_tokens(name, config.get("model_max_length", MAX_TOKENS)),
        added=_added_by_config(read, name, config),
    )


def token_problems(vocabulary: Vocabulary | None, options: TokenizerOptions, vocab_size: int) -> Iterator[str]:
    """Say which tokens the text encoder has no embedding for; the shipped vocabulary is SDXL's own."""
    if vocabulary is None:
        if vocab_size < _SHIPPED_TOKENS:
            yield f"has no vocabulary, and SDXL's own has {_SHIPPED_TOKENS} tokens; vocab_size is {vocab_size}"
        return
    added = vocabulary.added if options.added is None else options.added
    contents = {token.content for token in added.values()}
    tokens = len({*vocabulary.ids, *contents, *options.special.values()})
    largest = max([*vocabulary.ids.values(), *added, tokens - 1])
    if largest >= vocab_size:
        yield f"has {largest + 1} tokens, and the text encoder's vocab_size is {vocab_size}"
    unknown = next(
        (text for text in options.special.values() if text not in vocabulary.ids and text not in contents), None
    )
    if unknown is not None:
        yield f"lacks the special token {unknown!r} in its vocabulary"


_SHIPPED_TOKENS = 49408


_T = TypeVar("_T")


def _converted(name: str, value: object, type_: type[_T]) -> _T:
    try:
        return msgspec.convert(value, type_)
    except msgspec.ValidationError as error:
        raise NotServable(f"{name} is not as it should be: {error}.") from error


def _from_tokenizer_json(name: str, content: bytes) -> Vocabulary:
    decoded = _converted(name, decode_config(name, content), _TokenizerJson)
    merges = [tuple(each.split(" ")) if isinstance(each, str) else each for each in decoded.model.merges]
    added = {token.id: _plain(token) for token in decoded.added_tokens}
    return _checked(name, decoded.model.vocab, merges, added)


def _plain(token: _ListedToken) -> AddedToken:
    return AddedToken(**{key: getattr(token, key) for key in AddedToken.__struct_fields__})


def _merges_of(name: str, content: bytes) -> list[tuple[str, ...]]:
    try:
        lines = content.decode("utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise NotServable(f"{name} is not as it should be: {error}.") from error
    return [tuple(line.split(" ")) for line in lines if line and not line.startswith("#version")]


def _checked(
    name: str, ids: Mapping[str, int], merges: Sequence[tuple[str, ...]], added: Mapping[int, AddedToken]
) -> Vocabulary:
    """See to it that byte pair encoding can use a vocabulary."""
    if not ids:
        raise NotServable(f"{name} is not as it should be: the vocabulary is empty.")
    for merge in merges:
        if len(merge) != 2 or any(token not in ids for token in (*merge, "".join(merge))):
            raise NotServable(
                f"{name} is not as it should be: it merges {str(merge)[:80]}, which is not in the vocabulary."
            )
    return Vocabulary(ids=ids, merges=tuple((merge[0], merge[1]) for merge in merges), added=added)


def _decoded(read: ReadConfig, name: str) -> dict[str, Any]:
    content = read(name)
    return {} if content is None else decode_config(name, content)


class _SpecialToken(msgspec.Struct, frozen=True, kw_only=True):
    content: Annotated[str, Meta(min_length=1)]


def _special(read: ReadConfig, name: str, config: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield the special tokens: the older `special_tokens_map.json` wins in folders without `added_tokens_decoder`."""
    older = _decoded(read, f"{name}/special_tokens_map.json")
    first, second = (config, older) if "added_tokens_decoder" in config else (older, config)
    usual = {**USUAL_TOKENS, "pad_token": USUAL_PADDING[name]}
    for key in SPECIAL_TOKENS:
        stated = next((each[key] for each in (first, second) if each.get(key) is not None), usual[key])
        as_object = {"content": stated} if isinstance(stated, str) else stated
        yield key, _converted(f"{name}/tokenizer_config.json", as_object, _SpecialToken).content


def _max_tokens(name: str, stated: object) -> int:
    """Return the length of a text; transformers writes 1e30 for no limit."""
    if not isinstance(stated, int | float) or isinstance(stated, bool) or not stated >= 3 or stated != stated // 1:
        raise NotServable(
            f"{name}/tokenizer_config.json is not as it should be: model_max_length must be at least 3, got {stated!r}."
        )
    return MAX_TOKENS if stated > 1_000_000 else int(stated)


_AddedByNumber = dict[Annotated[str, Meta(pattern="^[0-9]{1,7}$")], AddedToken]


def _added_by_config(read: ReadConfig, name: str, config: Mapping[str, Any]) -> dict[int, AddedToken] | None:
    if "added_tokens_decoder" in config:
        source, stated = f"{name}/tokenizer_config.json", config["added_tokens_decoder"]
        return {int(number): token for number, token in _converted(source, stated, _AddedByNumber).items()}
    source = f"{name}/added_tokens.json"
    older = _converted(source, _decoded(read, source), dict[str, _Id])
    return {number: AddedToken(content=text) for text, number in older.items()} or None
