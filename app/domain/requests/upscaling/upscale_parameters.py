"""The parameters of `POST /upscale`, and their resolution."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated

import msgspec
from msgspec import Meta

from ...errors import FieldError, InvalidRequest
from ...models.spec import ModelSpec
from ..fields import (
    DEFAULT_QUALITY,
    MAX_SCALE,
    FileName,
    FileVersion,
    HeightBesideScale,
    OutputFormat,
    Priority,
    Scale,
    Sha256,
    StatedFormat,
    StatedQuality,
    WidthBesideScale,
)
from ..parameters import Limits
from ..pictures.picture import FileContent, Resize, Upload
from ..resolving.format_limits import format_errors
from .upscale_request import UpscaleRequest
from .upscalers import LANCZOS, LATENT_UPSCALERS, network_of, outlined

_DEFAULT_SCALE = 2.0
_MOST_BETWEEN = 4
"""Factor by which the output of a network may have more pixels than a picture may: what a larger one loses when it is shrunk to
the wanted size was not worth making."""


class UpscaleParameters(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The parameters of a client; all but the picture are optional."""

    image: Annotated[
        FileContent,
        Meta(
            description="The picture, a PNG, JPEG, WebP or AVIF file in base64.",
            examples=[
                "iVBORw0KGgoAAAANSUhEUgAAAAgAAAAIAQMAAAD+wSzIAAAABlBMVEX///+/v7+jQ3Y5AAAADklEQVQI12P4AIX8EAgALgAD/aNpbtEAAAAASUVORK5CYII"
            ],
        ),
    ]
    scale: (
        Annotated[
            Scale,
            Meta(description="Factor of both sides. Default: the upscaler's own, 2 for `lanczos`."),
        ]
        | None
    ) = None
    width: WidthBesideScale | None = None
    height: HeightBesideScale | None = None
    resize: Annotated[
        Resize, Meta(description="What happens if `width` and `height` have another shape than the picture.")
    ] = "crop"
    upscaler: Annotated[
        FileName,
        Meta(
            description="`lanczos`, or a file in `models/upscalers/`; `GET /upscalers` lists them.",
            examples=["demo-x2"],
        ),
    ] = LANCZOS
    upscaler_version: (
        Annotated[
            FileVersion,
            Meta(
                description="The upscaler's version of an earlier picture. If its file has changed, a warning says so.",
            ),
        ]
        | None
    ) = None
    image_sha256: (
        Annotated[
            Sha256,
            Meta(
                description="SHA-256 of the file that `image` must be. Another file brings a warning.",
            ),
        ]
        | None
    ) = None
    priority: Annotated[Priority, Meta(description="As of `POST /generate`. Default: normal.")] = "normal"
    output_format: StatedFormat = "png"
    output_quality: StatedQuality | None = None


class ResolvedUpscaling(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The parameters as they were used. Posted again with the same picture, they give the same bytes."""

    width: int
    height: int
    resize: Resize
    upscaler: str
    image_sha256: str
    output_format: OutputFormat
    output_quality: int | None = None
    """None: the format is PNG, on which it has no effect."""
    upscaler_version: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Upscaling:
    """A request to enlarge one picture, with every choice made."""

    picture: Upload
    parameters: ResolvedUpscaling
    network: UpscaleRequest | None
    """What the upscaler does, without the picture; None for `lanczos`."""
    warnings: tuple[str, ...]

    @property
    def factor(self) -> float:
        """Factor of the longer side."""
        wanted, picture = self.parameters, self.picture
        return max(wanted.width / picture.width, wanted.height / picture.height)


def refuse_latent(upscaler: str, field: str = "upscaler") -> None:
    """Refuse an interpolation of latents for a picture that is there already.

    Raises:
        InvalidRequest: it is one.
    """
    if upscaler in LATENT_UPSCALERS:
        message = (
            f"{upscaler!r} interpolates the latents of an image between two passes, and a finished picture has none; use "
            f"{LANCZOS!r} or a file, or hires of POST /generate"
        )
        raise InvalidRequest([FieldError(field=field, message=message)])


def resolve_upscaling(
    parameters: UpscaleParameters, picture: Upload, spec: ModelSpec | None, limits: Limits
) -> Upscaling:
    """Choose the size, and the passes through the upscaler.

    Args:
        parameters: as the client sent them.
        picture: `parameters.image`.
        spec: entry of the upscaler; None for `lanczos`.
        limits: bounds on the size.

    Raises:
        InvalidRequest: the size is not larger, or beyond a limit.
    """
    width, height = _size(parameters, picture, spec)
    factor = max(width / picture.width, height / picture.height)
    network = None
    if spec is not None:
        network = outlined(spec, width=picture.width, height=picture.height, count=1, factor=factor)
    if errors := [*_errors(parameters, picture, (width, height), network, limits)]:
        raise InvalidRequest(errors)
    resolved = ResolvedUpscaling(
        width=width,
        height=height,
        resize=parameters.resize,
        upscaler=LANCZOS if spec is None else spec.name,
        upscaler_version=None if spec is None else spec.version,
        image_sha256=picture.digest,
        output_format=parameters.output_format,
        output_quality=_quality(parameters),
    )
    return Upscaling(
        picture=picture,
        parameters=resolved,
        network=network,
        warnings=tuple(_warnings(parameters, picture, resolved)),
    )


def _quality(parameters: UpscaleParameters) -> int | None:
    if parameters.output_format == "png":
        return None
    return parameters.output_quality or DEFAULT_QUALITY[parameters.output_format]


def _size(parameters: UpscaleParameters, picture: Upload, spec: ModelSpec | None) -> tuple[int, int]:
    width, height = parameters.width, parameters.height
    if width is not None and height is not None:
        return width, height
    if width is not None:
        return width, max(1, round(picture.height * width / picture.width))
    if height is not None:
        return max(1, round(picture.width * height / picture.height)), height
    scale = parameters.scale or (_DEFAULT_SCALE if spec is None else min(network_of(spec).scale, MAX_SCALE))
    return round(picture.width * scale), round(picture.height * scale)


def _errors(
    parameters: UpscaleParameters,
    picture: Upload,
    size: tuple[int, int],
    network: UpscaleRequest | None,
    limits: Limits,
) -> Iterator[FieldError]:
    width, height = size
    sides = [name for name in ("width", "height") if getattr(parameters, name) is not None]
    if sides and parameters.scale is not None:
        yield FieldError(field="scale", message=f"must be absent beside {' and '.join(sides)}, which say the same")
    field = sides[0] if sides else "scale"
    factor = max(width / picture.width, height / picture.height)
    own = f"{picture.width} x {picture.height}"
    if factor <= 1:
        yield FieldError(field=field, message=f"must make the picture larger than it is, {own}; got {width} x {height}")
    elif factor > MAX_SCALE:
        message = f"must be at most {MAX_SCALE:g} times the picture's own, {own}; got {width} x {height}"
        yield FieldError(field=field, message=message)
    if (pixels := width * height) > limits.max_image_pixels:
        message = (
            f"the enlarged picture may have at most {limits.max_image_pixels} pixels (limits.max_image_pixels), got "
            f"{width} x {height} = {pixels}"
        )
        yield FieldError(field=field, message=message)
    elif network is not None:
        yield from _too_large_between(network, limits)
    yield from format_errors(parameters.output_format, width, height)


def _too_large_between(network: UpscaleRequest, limits: Limits) -> Iterator[FieldError]:
    width, height = (side * network.scale for side in network.largest_input)
    if width * height > (most := _MOST_BETWEEN * limits.max_image_pixels):
        message = (
            f"enlarges {network.width} x {network.height} to {width} x {height} = {width * height} pixels before they are "
            f"shrunk to the wanted size; at most {most} are possible ({_MOST_BETWEEN} times limits.max_image_pixels). Use "
            f"{LANCZOS!r}, or an upscaler of a smaller scale"
        )
        yield FieldError(field="upscaler", message=message)


def _warnings(parameters: UpscaleParameters, picture: Upload, resolved: ResolvedUpscaling) -> Iterator[str]:
    expected = parameters.image_sha256
    if expected not in (None, picture.digest):
        yield f"image is another file than image_sha256 says ({picture.digest[:12]}… beside {expected[:12]}…)."
    yield from changed_version(resolved.upscaler, resolved.upscaler_version, parameters.upscaler_version)
    if parameters.output_quality is not None and parameters.output_format == "png":
        yield "output_quality has no effect on png, which is lossless."


def changed_version(upscaler: str, version: str | None, expected: str | None) -> Iterator[str]:
    """Warn if an upscaler's file is not the one of an earlier picture."""
    if expected not in (None, version):
        yield (
            f"The file of upscaler {upscaler!r} has changed since upscaler_version {expected!r}, it is {version!r} now: the "
            "picture may differ."
        )
