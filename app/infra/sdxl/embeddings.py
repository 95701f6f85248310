"""Puts the vectors of textual inversion embeddings in the place of tokens, for one call of a text encoder."""

import hashlib
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from safetensors.torch import load
from torch import Tensor, nn

from ...domain.errors import GenerationFailed
from ...domain.models.embeddings import EmbeddingUse
from ..diffusion.tokenization import Chunk

_KEPT = 64
"""Embeddings whose vectors stay in host memory, half a megabyte each at most."""


class EmbeddingVectors:
    """The vectors of the embeddings that were used last. Engine thread only."""

    def __init__(self) -> None:
        self._loaded: OrderedDict[str, tuple[Tensor, ...]] = OrderedDict()

    def of(self, use: EmbeddingUse) -> tuple[Tensor, ...]:
        """Return the vectors for each text encoder, each vectors x width, in host memory.

        Raises:
            GenerationFailed: the file has changed since the request was resolved.
        """
        if use.sha256 not in self._loaded:
            self._loaded[use.sha256] = _read(use)
            while len(self._loaded) > _KEPT:
                self._loaded.popitem(last=False)
        self._loaded.move_to_end(use.sha256)
        return self._loaded[use.sha256]


def fitting(embeddings: Sequence[EmbeddingUse], widths: tuple[int, ...]) -> tuple[tuple[EmbeddingUse, ...], list[str]]:
    """Return the embeddings that fit text encoders of some widths, and a warning for each of the others."""
    fits = tuple(use for use in embeddings if use.reading.widths == widths)
    return fits, [
        f"Embedding {use.name!r} has vectors of {_joined(use.reading.widths)} numbers, and the text encoders of this model need "
        f"{_joined(widths)}: its name was read as words."
        for use in embeddings
        if use not in fits
    ]


@contextmanager
def vectors_inserted(encoder: Any, chunk: Chunk, vectors: EmbeddingVectors, number: int) -> Iterator[None]:
    """Put vectors in the place of the tokens of a chunk while a text encoder is called; its weights stay as they are.

    Args:
        encoder: of transformers, called with one row.
        chunk: with the places of its embeddings.
        vectors: the embeddings' vectors.
        number: of the encoder among those of the model.
    """
    if not chunk.inserted:
        yield
        return

    def put(_: nn.Module, __: Any, embedded: Tensor) -> Tensor:
        changed = embedded.clone()
        for place, use in chunk.inserted:
            found = vectors.of(use)[number]
            changed[0, place : place + len(found)] = found.to(changed)
        return changed

    # A hook, because the encoders of transformers take no embedded tokens. It belongs to this call: the thread makes no other.
    handle = encoder.get_input_embeddings().register_forward_hook(put)
    try:
        yield
    finally:
        handle.remove()


def _read(use: EmbeddingUse) -> tuple[Tensor, ...]:
    try:
        data = use.path.read_bytes()
    except OSError as error:
        raise GenerationFailed(f"Embedding {use.name!r} cannot be read any more: {error.strerror}.") from error
    if hashlib.sha256(data).hexdigest() != use.sha256:
        raise GenerationFailed(f"The file of embedding {use.name!r} changed while the request waited. Send it again.")
    tensors = load(data)
    return tuple(torch.atleast_2d(tensors[name]).float() for name in use.reading.tensors)


def _joined(widths: Sequence[int]) -> str:
    return " and ".join(map(str, widths))
