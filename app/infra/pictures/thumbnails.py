"""Makes thumbnails with Pillow, in worker threads."""

import asyncio
import io

from PIL import Image

_QUALITY = 82


class PillowThumbnails:
    """Fulfils `Thumbnail`. One is made at a time, so that a page of them takes no core from requests that run."""

    def __init__(self) -> None:
        self._turn = asyncio.Lock()

    async def __call__(self, data: bytes, width_px: int) -> bytes:
        """Make a smaller picture; one that is smaller already keeps its size."""
        async with self._turn:
            return await asyncio.to_thread(_thumbnail, data, width_px)


def _thumbnail(data: bytes, width_px: int) -> bytes:
    with Image.open(io.BytesIO(data)) as image:
        size = (width_px, max(1, round(image.height * width_px / image.width)))
        small = image.convert("RGB")
        if width_px < image.width:
            small = small.resize(size, Image.Resampling.LANCZOS, reducing_gap=2.0)
    buffer = io.BytesIO()
    small.save(buffer, "WEBP", quality=_QUALITY, method=2)
    return buffer.getvalue()
