"""What the first latents of a request are made from."""

from dataclasses import dataclass, field, replace

from .picture import MaskContent, Picture, Resize, Upload, UploadField


@dataclass(frozen=True, slots=True)
class FromNoise:
    """Pure noise, drawn from the seed of each image: text to image."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FromImage:
    """A picture with noise on it: image to image."""

    image: Upload | Picture
    """As it was sent; once prepared, a picture of width x height of the request."""
    image_sha256: str
    """Of the file that was sent."""
    strength: float
    """Share of the steps that are taken, above 0 and up to 1."""
    resize: Resize = "crop"


@dataclass(frozen=True, slots=True, kw_only=True)
class Region:
    """A rectangle of a picture in pixels."""

    left: int
    top: int
    width: int
    height: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Canvas:
    """What the painted part is laid over at the end, and where."""

    picture: Picture
    """RGB."""
    mask: Picture
    """Opacity of the painted part; 0 wherever nothing may change."""
    region: Region
    """The part of the picture that is denoised."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FromMaskedImage:
    """A picture, a part of which is painted again: inpainting and outpainting."""

    image: Upload | Picture
    """As it was sent; once prepared, the region that is denoised, width x height of the request."""
    mask: Upload | Picture
    """255 where the picture is painted again; prepared as the image is."""
    image_sha256: str
    """Of the file that was sent."""
    mask_sha256: str
    """Of the file that was sent."""
    strength: float
    resize: Resize = "crop"
    mask_invert: bool = False
    """Whether the mask marks what is kept."""
    mask_blur_px: int = 4
    """Pixels inside the mask's border over which the painted part fades into the picture."""
    mask_content: MaskContent = "original"
    mask_padding_px: int | None = None
    """Pixels around the masked part that are denoised with it, at the size of the request; None: the whole picture."""
    canvas: Canvas | None = field(default=None, compare=False, repr=False)
    """Present once prepared."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Latents:
    """The latents of one image in the denoiser's scale: `numbers` holds channels x height x width float32 numbers."""

    channels: int
    width: int
    height: int
    numbers: bytes = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class FromPictures:
    """A picture for each image with noise on it: the second pass after one that was enlarged as a picture."""

    pictures: tuple[Picture, ...]
    """In the order of the seeds, `width` x `height` of the request; none in a plan."""
    strength: float


@dataclass(frozen=True, slots=True, kw_only=True)
class FromLatents:
    """Latents for each image, enlarged, with noise on them: the second pass after one that was not decoded."""

    latents: tuple[Latents, ...]
    """In the order of the seeds, in the size of the first pass; none in a plan."""
    size: tuple[int, int]
    """Width and height of the second pass in pixels."""
    strength: float
    upscaler: str
    """Name of the interpolation."""


Source = FromNoise | FromImage | FromMaskedImage | FromPictures | FromLatents
"""A tagged union by class."""


def without_files(source: Source) -> Source:
    """Return a source that names the files that were sent, and does not hold them."""
    match source:
        case FromImage():
            return replace(source, image=_emptied("image", source.image))
        case FromMaskedImage():
            return replace(source, image=_emptied("image", source.image), mask=_emptied("mask", source.mask))
        case _:
            return source


def _emptied(name: UploadField, picture: Upload | Picture) -> Upload:
    return Upload(field=name, digest=picture.digest, width=picture.width, height=picture.height, data=b"")
