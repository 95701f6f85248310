"""Encodes the unfinished images of a job for its event log."""

import asyncio
import base64

from ..requests.progress import Preview
from ..requests.rendering import ImageWriter, RawImage
from .tracked_job import TrackedJob

_PREVIEW_QUALITY = 70


class Previews:
    """Encodes the unfinished images of one job; drops those that arrive while another is encoded. Event loop only."""

    def __init__(self, job: TrackedJob, writer: ImageWriter) -> None:
        self._job = job
        self._writer = writer
        self._writing: asyncio.Task[None] | None = None

    def show(self, preview: Preview) -> None:
        """Encode a preview and add it to the job's log, unless another is being encoded."""
        if self._writing is None or self._writing.done():
            self._writing = asyncio.create_task(self._write(preview.image, preview.done, preview.total))

    async def _write(self, image: RawImage, done: int, total: int) -> None:
        data = await self._writer.write(image, "jpeg", _PREVIEW_QUALITY, {})
        self._job.log.add(
            "preview",
            done=done,
            total=total,
            media_type="image/jpeg",
            width=image.width,
            height=image.height,
            image=base64.b64encode(data).decode(),
        )
