"""CLIP's byte-pair vocabulary, cut down to the words that captions use plus every single byte."""

import itertools
import json
from collections.abc import Iterable
from pathlib import Path

from transformers import CLIPTokenizer

FULL = Path(__file__).parents[1] / "app" / "infra" / "sdxl" / "configs" / "tokenizer"
_EXTRA_WORDS = ["picture", "photo", "image", "of", "the", "one", "two", "and", "with", "an", "big", "tiny"]


def write_tokenizers(folder: Path, captions: Iterable[str]) -> None:
    """Write `tokenizer` and `tokenizer_2` into a diffusers folder. Unknown words still split into bytes."""
    words = sorted({word for caption in captions for word in caption.split()} | set(_EXTRA_WORDS))
    merges = _needed_merges(words)
    characters = _byte_symbols()
    tokens = [*characters, *(c + "</w>" for c in characters), *("".join(pair) for pair in merges)]
    vocabulary = {token: i for i, token in enumerate([*tokens, "<|startoftext|>", "<|endoftext|>"])}
    for name, padding in (("tokenizer", "<|endoftext|>"), ("tokenizer_2", "!")):
        _write(folder / name, vocabulary, merges, padding)


def load_tokenizers(folder: Path) -> tuple[CLIPTokenizer, CLIPTokenizer]:
    """Load the two tokenizers of a diffusers folder."""
    one, two = (
        CLIPTokenizer.from_pretrained(folder / name, local_files_only=True) for name in ("tokenizer", "tokenizer_2")
    )
    return one, two


def _byte_symbols() -> list[str]:
    """Return the first 256 entries of CLIP's vocabulary: one printable character for each byte."""
    vocabulary: dict[str, int] = json.loads((FULL / "vocab.json").read_text(encoding="utf-8"))
    return sorted(vocabulary, key=lambda token: vocabulary[token])[:256]


def _needed_merges(words: list[str]) -> list[tuple[str, str]]:
    """Return the merges that byte-pair encoding applies to these words, in CLIP's order."""
    lines = (FULL / "merges.txt").read_text(encoding="utf-8").splitlines()[1:]
    ranks = {(pair[0], pair[1]): rank for rank, line in enumerate(lines) if len(pair := line.split()) == 2}
    used: set[tuple[str, str]] = set()
    for word in words:
        used |= _merges_of(word, ranks)
    return sorted(used, key=lambda pair: ranks[pair])


def _merges_of(word: str, ranks: dict[tuple[str, str], int]) -> set[tuple[str, str]]:
    symbols, used = [*word[:-1], word[-1] + "</w>"], set[tuple[str, str]]()
    while len(symbols) > 1:
        best = min(itertools.pairwise(symbols), key=lambda pair: ranks.get(pair, len(ranks)))
        if best not in ranks:
            break
        used.add(best)
        symbols = _merge(symbols, best)
    return used


def _merge(symbols: list[str], pair: tuple[str, str]) -> list[str]:
    merged: list[str] = []
    for symbol in symbols:
        if merged and (merged[-1], symbol) == pair:
            merged[-1] += symbol
        else:
            merged.append(symbol)
    return merged


def _write(folder: Path, vocabulary: dict[str, int], merges: list[tuple[str, str]], padding: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    settings = {
        "bos_token": "<|startoftext|>",
        "eos_token": "<|endoftext|>",
        "unk_token": "<|endoftext|>",
        "pad_token": padding,
        "model_max_length": 77,
        "do_lower_case": True,
        "tokenizer_class": "CLIPTokenizer",
    }
    (folder / "vocab.json").write_text(json.dumps(vocabulary, ensure_ascii=False), encoding="utf-8")
    lines = "\n".join(" ".join(pair) for pair in merges)
    (folder / "merges.txt").write_text(f"#version: 0.2\n{lines}\n", encoding="utf-8")
    (folder / "tokenizer_config.json").write_text(json.dumps(settings, indent=2) + "\n", encoding="utf-8")
