"""Pictures that were decoded last, so that a file that is checked and used soon after is decoded once. Any thread."""

import threading
from collections import OrderedDict
from dataclasses import dataclass

from ...domain.requests.pictures.picture import Picture, Upload, UploadField

_MAX_NBYTES = 64 * 1024**2
"""Pixels of all pictures that are kept: five of 2048 x 2048."""
_MAX_CHECKED = 1024
"""Files that are remembered as whole."""

_Key = tuple[UploadField, str]
"""Field of the request, which decides how a file is read, and digest of the file."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """What is known of a file that could be decoded."""

    width: int
    height: int
    levels: tuple[int, int] | None
    """Least and greatest value of a mask; None for an image."""
    warnings: tuple[str, ...]


class RecentPictures:
    """Two caches by field and digest: of pixels, within a number of bytes, and of what is known of files."""

    def __init__(self, max_nbytes: int = _MAX_NBYTES) -> None:
        self._max_nbytes = max_nbytes
        self._pictures: OrderedDict[_Key, Picture] = OrderedDict()
        self._checked: OrderedDict[_Key, Checked] = OrderedDict()
        self._lock = threading.Lock()

    def checked(self, name: UploadField, digest: str) -> Checked | None:
        """Return what is known of a file; None if it has to be decoded."""
        with self._lock:
            return self._checked.get((name, digest))

    def picture(self, upload: Upload) -> Picture | None:
        """Return the pixels of a file, if they are kept."""
        with self._lock:
            return self._pictures.get((upload.field, upload.digest))

    def keep(
        self, name: UploadField, picture: Picture, levels: tuple[int, int] | None, warnings: tuple[str, ...]
    ) -> Checked:
        """Keep a picture, and drop the oldest ones."""
        found = Checked(width=picture.width, height=picture.height, levels=levels, warnings=warnings)
        with self._lock:
            self._checked[name, picture.digest] = found
            self._pictures[name, picture.digest] = picture
            while sum(len(kept.pixels) for kept in self._pictures.values()) > self._max_nbytes:
                self._pictures.popitem(last=False)
            if len(self._checked) > _MAX_CHECKED:
                self._checked.popitem(last=False)
        return found
