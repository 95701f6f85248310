"""The port that reads the pictures of requests."""

from collections.abc import Sequence
from typing import Protocol

from ..rendering import RawImage
from ..request import GenerationRequest
from .picture import FileContent, Picture, Resize, Upload, Uploads


class ImageReader(Protocol):
    """Decodes uploads and brings them to the size of a request, in worker threads."""

    async def read(self, image: FileContent | None, mask: FileContent | None) -> Uploads:
        """Check the files of a request by decoding them; what waits holds the files and no pixels.

        Raises:
            InvalidRequest: a file is no picture that can be read, or is larger than the limits; names its field.
        """
        ...

    async def decoded(self, upload: Upload) -> Picture:
        """Decode a file that `read` has checked: upright, in RGB or as a mask."""
        ...

    async def prepare(self, request: GenerationRequest) -> GenerationRequest:
        """Return the request with its pictures decoded and in the size in which they are denoised."""
        ...

    async def resized(self, images: Sequence[RawImage], width: int, height: int, resize: Resize) -> tuple[Picture, ...]:
        """Bring finished images to a size with Lanczos; each is named by its pixels."""
        ...

    async def compose(self, request: GenerationRequest, image: RawImage) -> RawImage:
        """Lay the painted part of a finished picture over the original, whose other pixels stay what they are."""
        ...
