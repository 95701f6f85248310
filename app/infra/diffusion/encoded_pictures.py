"""A cache of encoded pictures, one for each model in memory. Engine thread only."""

from collections import OrderedDict
from dataclasses import dataclass

import torch
from torch import Tensor

_MAX_NBYTES = 32 * 1024**2
"""Size of sixty pictures of 1024 x 1024 pixels: two times 4 x 128 x 128 numbers in float32 each."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LatentDistribution:
    """A normal distribution over latents, in the VAE's own scale and float32: what an autoencoder sees in a picture."""

    mean: Tensor
    """1 x channels x h x w."""
    deviation: Tensor
    """1 x channels x h x w."""

    @property
    def nbytes(self) -> int:
        """Size of the tensors."""
        return self.mean.nbytes + self.deviation.nbytes

    def on(self, device: torch.device | str) -> "LatentDistribution":
        """Copy it to another device; return itself if it is there already."""
        if self.mean.device == torch.device(device):
            return self
        return LatentDistribution(mean=self.mean.to(device), deviation=self.deviation.to(device))

    def sample(self, generator: torch.Generator) -> Tensor:
        """Draw latents; the noise comes from the CPU, as all noise of a request does."""
        noise = torch.randn(self.mean.shape, generator=generator, dtype=torch.float32)
        return self.mean + self.deviation * noise.to(self.mean.device)


class EncodedPictures:
    """Keeps the most recently used ones within a number of bytes, in host memory."""

    def __init__(self, max_nbytes: int = _MAX_NBYTES) -> None:
        self._max_nbytes = max_nbytes
        self._entries: OrderedDict[str, LatentDistribution] = OrderedDict()

    def get(self, key: str) -> LatentDistribution | None:
        """Return the entry of a key; not to be written to."""
        found = self._entries.get(key)
        if found is not None:
            self._entries.move_to_end(key)
        return found

    def put(self, key: str, encoded: LatentDistribution) -> None:
        """Keep an entry, and drop the least recently used ones."""
        self._entries[key] = encoded.on("cpu")
        while sum(entry.nbytes for entry in self._entries.values()) > self._max_nbytes:
            self._entries.popitem(last=False)
