"""A cache of encoded prompts, one for each model in memory. Engine thread only.

Entries are kept in host memory: copying one to the device takes some hundredths of a millisecond, far less than encoding it.
"""

from collections import OrderedDict
from dataclasses import dataclass

import torch
from torch import Tensor

from ...domain.models.components import ComponentId

DEFAULT_NBYTES = 64 * 1024**2
"""Size of about two hundred prompts of one chunk, 77 x 2048 numbers in a 16-bit dtype."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PromptKey:
    """Everything that the encoding of one text by one encoder depends on."""

    encoder: ComponentId
    text: str
    layer: int
    """Layer whose hidden states are taken, counted from the end."""
    weighting: bool
    long: bool
    adapters: tuple[tuple[str, str, float], ...] = ()
    """Name, version and weight of each adapter that changes the encoder."""
    embeddings: tuple[tuple[str, str], ...] = ()
    """Name and SHA-256 of each textual inversion embedding that the text may name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EncodedPrompt:
    """The encoding of one text by one encoder."""

    hidden: Tensor
    """1 x 77 * chunks x width of the encoder."""
    pooled: Tensor | None
    """1 x projection width; None for an encoder without a projection."""
    ignored: tuple[str, ...]
    """Parts of the text that were cut, see `Tokens.ignored`."""

    @property
    def nbytes(self) -> int:
        """Size of the tensors."""
        return self.hidden.nbytes + (self.pooled.nbytes if self.pooled is not None else 0)

    def on(self, device: torch.device | str) -> "EncodedPrompt":
        """Copy it to another device; return itself if it is there already."""
        pooled = self.pooled.to(device) if self.pooled is not None else None
        return EncodedPrompt(hidden=self.hidden.to(device), pooled=pooled, ignored=self.ignored)


class PromptCache:
    """Keeps the most recently used encodings within a number of bytes."""

    def __init__(self, max_nbytes: int = DEFAULT_NBYTES) -> None:
        self.max_nbytes = max_nbytes
        """0 keeps nothing."""
        self.nbytes = 0
        self._entries: OrderedDict[PromptKey, EncodedPrompt] = OrderedDict()

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, key: PromptKey) -> EncodedPrompt | None:
        """Return the entry of a key, in host memory; not to be written to."""
        found = self._entries.get(key)
        if found is not None:
            self._entries.move_to_end(key)
        return found

    def put(self, key: PromptKey, encoded: EncodedPrompt) -> None:
        """Keep an encoding, and drop the least recently used ones; one that exceeds the whole cache is not kept."""
        if encoded.nbytes > self.max_nbytes:
            return
        self._forget(key)
        self._entries[key] = encoded.on("cpu")
        self.nbytes += encoded.nbytes
        while self.nbytes > self.max_nbytes:
            self._forget(next(iter(self._entries)))

    def _forget(self, key: PromptKey) -> None:
        gone = self._entries.pop(key, None)
        self.nbytes -= gone.nbytes if gone is not None else 0
