"""What the first latents of a request are made from."""

from dataclasses import dataclass, field

from .pictures import Picture, Resize


@dataclass(frozen=True, slots=True)
class FromNoise:
    """Pure noise, drawn from the seed of each image: text to image."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FromImage:
    """A picture with noise on it: image to image."""

    image: Picture
    """As it was sent; once prepared, width x height of the request."""
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

    image: Picture
    """As it was sent; once prepared, the region that is denoised, width x height of the request."""
    mask: Picture
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
    mask_padding_px: int | None = None
    """Pixels around the masked part that are denoised with it, at the size of the request; None: the whole picture."""
    canvas: Canvas | None = field(default=None, compare=False, repr=False)
    """Present once prepared."""


Source = FromNoise | FromImage | FromMaskedImage
"""A tagged union by class."""
