"""Decodes uploaded pictures with Pillow, and brings them to the size of a request, in worker threads."""

import asyncio
import hashlib
import io
from collections.abc import Sequence
from dataclasses import replace

from PIL import Image, UnidentifiedImageError

from ...domain.errors import FieldError, InvalidRequest
from ...domain.freed_memory import FreedMemory
from ...domain.requests.parameters import Limits
from ...domain.requests.pictures.picture import FileContent, Picture, Resize, Upload, UploadField, Uploads
from ...domain.requests.pictures.source import FromImage, FromMaskedImage
from ...domain.requests.rendering import RawImage
from ...domain.requests.request import GenerationRequest
from .decoding import Unreadable, first_frame, levels_of, mask_of, rgb, too_much_metadata, upright
from .fitting import composed, fitted, masked, resized
from .recent import RecentPictures

_FORMATS = ("PNG", "JPEG", "WEBP", "AVIF", "GIF", "BMP", "TIFF")
"""Formats that are read; Pillow has others, written for files that are trusted."""
_NAMES = "PNG, JPEG, WebP, AVIF, GIF, BMP or TIFF"


class PillowImageReader:
    """Fulfils `ImageReader`."""

    def __init__(self, limits: Limits, freed: FreedMemory | None = None) -> None:
        """Make a reader.

        Args:
            limits: of files and pictures.
            freed: is told of the memory that decoding took, which the heap keeps while the requests wait; None: nothing is.
        """
        self._limits = limits
        self._freed = freed
        self._recent = RecentPictures()

    async def read(self, image: FileContent | None, mask: FileContent | None) -> Uploads:
        """Check the files of a request; see `ImageReader.read`."""
        if image is None and mask is None:
            return Uploads()
        uploads = await asyncio.to_thread(self._read, image, mask)
        if self._freed is not None:
            self._freed.note(uploads.pixel_nbytes)
        return uploads

    async def decoded(self, upload: Upload) -> Picture:
        """Decode a file that `read` has checked."""
        return await asyncio.to_thread(self._picture, upload)

    async def prepare(self, request: GenerationRequest) -> GenerationRequest:
        """Decode its pictures, and bring them to the size in which they are denoised."""
        match request.source:
            case FromImage() | FromMaskedImage() as source:
                prepared = await asyncio.to_thread(self._prepared, source, request.width, request.height)
                return replace(request, source=prepared)
            case _:
                return request

    async def resized(self, images: Sequence[RawImage], width: int, height: int, resize: Resize) -> tuple[Picture, ...]:
        """Bring finished images to a size; see `ImageReader.resized`."""
        return await asyncio.to_thread(lambda: tuple(resized(image, width, height, resize) for image in images))

    async def compose(self, request: GenerationRequest, image: RawImage) -> RawImage:
        """Lay the painted part over the original."""
        if not isinstance(request.source, FromMaskedImage) or request.source.canvas is None:
            return image
        return await asyncio.to_thread(composed, request.source.canvas, image)

    def _read(self, image: FileContent | None, mask: FileContent | None) -> Uploads:
        errors: list[FieldError] = []
        warnings: list[str] = []
        uploads: dict[str, Upload | None] = {}
        sent: tuple[tuple[UploadField, FileContent | None], ...] = (("image", image), ("mask", mask))
        for name, data in sent:
            try:
                uploads[name] = None if data is None else self._checked(name, data, warnings)
            except Unreadable as error:
                errors.append(FieldError(field=name, message=str(error)))
        if errors:
            raise InvalidRequest(errors)
        return Uploads(image=uploads["image"], mask=uploads["mask"], warnings=tuple(warnings))

    def _prepared(self, source: FromImage | FromMaskedImage, width: int, height: int) -> FromImage | FromMaskedImage:
        image = self._picture(source.image)
        if isinstance(source, FromImage):
            return replace(source, image=fitted(image, width, height, source.resize))
        return masked(replace(source, image=image, mask=self._picture(source.mask)), width, height)

    def _picture(self, sent: Upload | Picture) -> Picture:
        if isinstance(sent, Picture):
            return sent
        return self._recent.picture(sent) or self._decoded(sent.field, sent.data, sent.digest, [])

    def _checked(self, name: UploadField, data: FileContent, warnings: list[str]) -> Upload:
        """Decode a file unless it was decoded before, and keep its pixels for a request that runs at once."""
        digest = hashlib.sha256(data).hexdigest()
        known = self._recent.checked(name, digest)
        if known is None:
            own: list[str] = []
            picture = self._decoded(name, data, digest, own)
            known = self._recent.keep(name, picture, levels_of(picture) if name == "mask" else None, tuple(own))
        warnings.extend(known.warnings)
        return Upload(field=name, digest=digest, width=known.width, height=known.height, levels=known.levels, data=data)

    def _decoded(self, name: UploadField, data: FileContent, digest: str, warnings: list[str]) -> Picture:
        if len(data) > self._limits.max_image_bytes:
            raise Unreadable(
                f"must be at most {self._limits.max_image_bytes} bytes (limits.max_image_bytes), got {len(data)}"
            )
        try:
            with Image.open(io.BytesIO(data), formats=_FORMATS) as file:
                self._check_size(file.width, file.height)
                warnings.extend(first_frame(name, file))
                picture = upright(name, file, warnings)
                return mask_of(picture, digest) if name == "mask" else rgb(picture, digest)
        except Unreadable:
            raise
        except (
            Image.DecompressionBombError,
            Image.DecompressionBombWarning,
        ) as error:  # Pillow's own limit, as it opens
            raise Unreadable(self._too_many_pixels("more")) from error
        except UnidentifiedImageError as error:  # which shows the address of a buffer
            raise Unreadable(f"is not a whole {_NAMES} file") from error
        except Exception as error:  # Pillow raises a dozen kinds for damaged files, and OSError for most
            raise Unreadable(too_much_metadata(error) or f"is not a whole {_NAMES} file: {error}") from error

    def _too_many_pixels(self, got: str) -> str:
        return f"must have at most {self._limits.max_image_pixels} pixels (limits.max_image_pixels), got {got}"

    def _check_size(self, width: int, height: int) -> None:
        """Refuse a picture before its pixels are decoded."""
        if width * height > self._limits.max_image_pixels:
            raise Unreadable(self._too_many_pixels(f"{width} x {height} = {width * height}"))
        shorter, longer = sorted((width, height))
        if shorter < _LEAST_SIDE_PX or longer > _MOST_ELONGATED * shorter:
            raise Unreadable(
                f"must have sides of at least {_LEAST_SIDE_PX} pixels, the longer at most {_MOST_ELONGATED} times the shorter, "
                f"got {width} x {height}"
            )


_LEAST_SIDE_PX = 8
_MOST_ELONGATED = 16
