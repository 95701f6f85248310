"""Images that answers name by an address, kept for a limited time. Event loop only."""

import secrets
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

KEEP_S = 3600.0
MAX_NBYTES = 256 * 1024**2


@dataclass(frozen=True, slots=True)
class StoredImage:
    """A file, its media type and the client that it was made for."""

    data: bytes
    media_type: str
    owner: str
    expires_s: float


class StoredImages:
    """Keeps images for an hour, and the newest of them within a number of bytes. A name is a secret of 256 bits."""

    def __init__(
        self, *, keep_s: float = KEEP_S, max_nbytes: int = MAX_NBYTES, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._keep_s = keep_s
        self._max_nbytes = max_nbytes
        self._clock = clock
        self._images: OrderedDict[str, StoredImage] = OrderedDict()
        self._nbytes = 0

    def put(self, data: bytes, media_type: str, owner: str = "") -> str:
        """Keep an image and return its name; the oldest ones go if there are too many bytes."""
        name = secrets.token_urlsafe(32)
        self._images[name] = StoredImage(data, media_type, owner, self._clock() + self._keep_s)
        self._nbytes += len(data)
        self._expire()
        while self._nbytes > self._max_nbytes and len(self._images) > 1:
            self._drop_oldest()
        return name

    def get(self, name: str, owner: str | None = None) -> StoredImage | None:
        """Return an image; None if there is none of this name, or no more, or not of this owner."""
        self._expire()
        image = self._images.get(name)
        return image if image is not None and owner in (None, image.owner) else None

    def _expire(self) -> None:
        while self._images and next(iter(self._images.values())).expires_s <= self._clock():
            self._drop_oldest()

    def _drop_oldest(self) -> None:
        _, gone = self._images.popitem(last=False)
        self._nbytes -= len(gone.data)
