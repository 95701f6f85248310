"""Prompts that were encoded already, most recently used last. Engine thread only.

It belongs to a model in memory and ends with it. It is held in host memory, so the device spends nothing on it: an
entry crosses the bus in some hundredths of a millisecond, which is far less than encoding takes.
"""

from collections import OrderedDict
from dataclasses import dataclass

import torch
from torch import Tensor

from ...domain.models.components import ComponentId

DEFAULT_NBYTES = 64 * 1024**2
"""About two hundred prompts in a 16-bit dtype at 77 x 2048 numbers a chunk."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PromptKey:
    """Everything that the encoding of one text by one encoder depends on."""

    encoder: ComponentId
    text: str
    layer: int
    """Of whose hidden states, counted from the end."""
    weighting: bool
    long: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class EncodedPrompt:
    """One text as one encoder understands it."""

    hidden: Tensor
    """1 x 77 * chunks x width of the encoder."""
    pooled: Tensor | None
    """1 x projection width; None of an encoder that has no projection."""
    ignored: tuple[str, ...]
    """What was cut, see `Tokens`."""

    @property
    def nbytes(self) -> int:
        """Of the tensors."""
        return self.hidden.nbytes + (self.pooled.nbytes if self.pooled is not None else 0)

    def on(self, device: torch.device | str) -> "EncodedPrompt":
        """The same on another device; itself where it is there already."""
        pooled = self.pooled.to(device) if self.pooled is not None else None
        return EncodedPrompt(hidden=self.hidden.to(device), pooled=pooled, ignored=self.ignored)


class PromptCache:
    """Keeps the encodings that were used last, as many as fit into a number of bytes."""

    def __init__(self, max_nbytes: int = DEFAULT_NBYTES) -> None:
        self.max_nbytes = max_nbytes
        """0 keeps nothing."""
        self.nbytes = 0
        self._entries: OrderedDict[PromptKey, EncodedPrompt] = OrderedDict()

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, key: PromptKey) -> EncodedPrompt | None:
        """What was put under this key, on the host; not to be written to."""
        found = self._entries.get(key)
        if found is not None:
            self._entries.move_to_end(key)
        return found

    def put(self, key: PromptKey, encoded: EncodedPrompt) -> None:
        """Keep it, and forget what was not used for longest; what is larger than the whole cache is not kept."""
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
