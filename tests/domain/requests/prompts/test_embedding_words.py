"""Embeddings are found by their bare name as a whole word, and by `embedding:name`."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from litestar_diffusion.domain.models.embeddings import EmbeddingName, EmbeddingReading, EmbeddingUse
from litestar_diffusion.domain.requests.prompts.embedding_words import named_in, split_words, without_names

READING = EmbeddingReading(family="sdxl", vectors=1, tensors=("clip_l", "clip_g"), widths=(768, 1280))


def use(name: str) -> EmbeddingUse:
    return EmbeddingUse(name=EmbeddingName(name), sha256="0" * 64, path=Path(name), reading=READING)


KNOWN = [use(name) for name in ("Neon", "neon glow", "bad-hands-5", "my style (v2)", "Été")]


def shown(text: str) -> list[str]:
    return [piece if isinstance(piece, str) else f"<{piece.name}>" for piece in split_words(text, KNOWN)]


@pytest.mark.parametrize(
    ("text", "pieces"),
    [
        ("a neon circle", ["a ", "<Neon>", " circle"]),
        ("NEON", ["<Neon>"]),
        ("neonlight, xneon", ["neonlight, xneon"]),
        ("neon, bad-hands-5", ["<Neon>", ", ", "<bad-hands-5>"]),
        ("a neon  glow", ["a ", "<neon glow>"]),
        ("embedding:neon, x", ["<Neon>", ", x"]),
        ("embedding:sub/folder/bad-hands-5.safetensors x", ["<bad-hands-5>", " x"]),
        ("EMBEDDING:Neon.pt", ["<Neon>"]),
        ("embedding:other", ["embedding:other"]),
        ("my style (v2)", ["<my style (v2)>"]),
        ("été", ["<Été>"]),
        ("", []),
    ],
)
def test_names_are_found(text: str, pieces: list[str]) -> None:
    assert shown(text) == pieces


def test_brackets_of_a_name_may_be_escaped() -> None:
    assert [found.name for found in named_in([r"a my style \(v2\), neon"], KNOWN)] == ["Neon", "my style (v2)"]


def test_what_is_left_is_the_text_without_them() -> None:
    assert without_names("embedding:neon and embedding:other", KNOWN) == " and embedding:other"


@given(st.text(alphabet="neon glow:/embdig.(\\", max_size=300))
def test_any_text_is_split_without_a_loss(text: str) -> None:
    pieces = list(split_words(text, KNOWN))
    assert all(pieces)
    assert "".join(piece if isinstance(piece, str) else piece.name.lower() for piece in pieces).count("neon") >= 0
    assert list(split_words(text, [])) == [text]
