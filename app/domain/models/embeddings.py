"""Textual inversion embeddings: learnt vectors that take the place of a word's tokens (Gal et al. 2022, arXiv:2208.01618).

They are kilobytes, so neither the pool's ledger nor a lease counts them; `MAX_NBYTES` bounds each.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NewType, Protocol

EmbeddingName = NewType("EmbeddingName", str)
"""A name in the list of embeddings: the name of its file. Only the catalogue makes them."""
MAX_NBYTES = 4 * 1024**2
"""Size of the largest file that is read: several times that of a full chunk of vectors of the largest models in float32."""
MAX_VECTORS = 75
"""Vectors that fit into one chunk of a prompt, beside its start and end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EmbeddingReading:
    """What the header of an embedding's file tells."""

    family: str
    vectors: int
    """Tokens whose place it takes."""
    tensors: tuple[str, ...]
    """Names of its tensors in the order of the text encoders."""
    widths: tuple[int, ...]
    """Their widths, which are those of the text encoders that it is for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EmbeddingSpec:
    """An entry of the list of embeddings."""

    name: EmbeddingName
    path: Path
    nbytes: int
    """Size of its file."""
    sha256: str
    """Of its file; empty if it is unusable."""
    reading: EmbeddingReading | None
    """None if it is unusable."""
    unusable: str | None = None
    """Reason for which it cannot be used; None for a usable one."""
    builtin: bool = False
    """Whether it ships with the package."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EmbeddingUse:
    """An embedding that a prompt names."""

    name: EmbeddingName
    sha256: str
    path: Path
    reading: EmbeddingReading


class EmbeddingCatalogue(Protocol):
    """The embeddings that exist. Files are read in worker threads."""

    async def list(self) -> Sequence[EmbeddingSpec]:
        """List all embeddings in alphabetical order, unusable ones included, after a look at their files."""
        ...


def usable(specs: Sequence[EmbeddingSpec]) -> list[EmbeddingUse]:
    """Return those that prompts may name."""
    return [
        EmbeddingUse(name=spec.name, sha256=spec.sha256, path=spec.path, reading=spec.reading)
        for spec in specs
        if spec.reading is not None and spec.unusable is None
    ]
