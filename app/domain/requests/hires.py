"""The second pass of a request at a larger size: its parameters, and its resolution."""

from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Annotated

import msgspec
from msgspec import Meta

from ..errors import FieldError
from ..models.catalogue import Catalogue
from ..models.spec import ModelSpec
from .fields import MAX_COUNT, MAX_SCALE, FileName, FileVersion, HeightBesideScale, Scale, WidthBesideScale
from .samplers import NEEDS_SCHEDULE, SamplerChoice, SigmaSchedule, UnknownSampler, parse_sampler, with_schedule
from .upscaling.upscale_request import UpscaleRequest
from .upscaling.upscalers import LANCZOS, LATENT_UPSCALERS, find_upscaler, outlined

DEFAULT_SCALE = 2.0
_LATENT_DEFAULT_STRENGTH = 0.6
_PICTURE_DEFAULT_STRENGTH = 0.3
"""More lets a model repeat what it shows, if the second pass is larger than what it was trained on."""
MAX_SCHEDULE = 1000
"""Longest schedule: models are trained on so many timesteps."""
_LATENT_STRENGTH = 0.5
"""Strength below which the cells of enlarged latents show."""


class Hires(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A second pass: the image is enlarged, noised and denoised again, as by `enable_hr` of AUTOMATIC1111's web UI."""

    scale: (
        Annotated[
            Scale,
            Meta(description="Factor of both sides; they are rounded down. Default: 2."),
        ]
        | None
    ) = None
    width: WidthBesideScale | None = None
    height: HeightBesideScale | None = None
    steps: Annotated[
        int,
        Meta(ge=0, le=MAX_COUNT, description="Steps that the second pass takes. Default, and 0: as many as the first."),
    ] = 0
    strength: (
        Annotated[
            float,
            Meta(
                gt=0,
                le=1,
                description="How much of the enlarged image changes. Default: 0.3, or 0.6 after `latent`, which needs more.",
            ),
        ]
        | None
    ) = None
    upscaler: Annotated[
        FileName,
        Meta(
            description="What enlarges: `latent` (also `-antialiased`, `-bicubic`, `-bicubic-antialiased`, `-nearest`, "
            "`-nearest-exact`), `lanczos`, or a file of `GET /upscalers`. Default: `lanczos`.",
            examples=["demo-x2"],
        ),
    ] = LANCZOS
    upscaler_version: (
        Annotated[
            FileVersion,
            Meta(
                description="The upscaler's version of an earlier image, from its receipt. If its file has changed, a warning "
                "says so.",
            ),
        ]
        | None
    ) = None
    sampler: Annotated[str, Meta(description="Of the second pass. Default: that of the first.")] | None = None
    schedule: Annotated[SigmaSchedule, Meta(description="Of the second pass. Default: that of the first.")] | None = (
        None
    )
    discard_penultimate_sigma: (
        Annotated[
            bool,
            Meta(
                description="Of the second pass; needs a `schedule` other than `model`. Default: that of the first, unless the "
                "schedule is `model`."
            ),
        ]
        | None
    ) = None


class ResolvedHires(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The parameters of a second pass as they were used."""

    width: int
    height: int
    steps: int
    strength: float
    upscaler: str
    sampler: str
    schedule: SigmaSchedule
    discard_penultimate_sigma: bool
    upscaler_version: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SecondPass:
    """A second pass with every choice made."""

    width: int
    height: int
    steps: int
    """Steps that are taken."""
    strength: float
    upscaler: str
    upscaler_version: str | None
    network: UpscaleRequest | None
    """What an upscaler of a file does between the passes, without the pictures; None for others."""
    sampler: SamplerChoice

    @property
    def latent(self) -> bool:
        """Whether latents are enlarged, and no picture."""
        return self.upscaler in LATENT_UPSCALERS

    @property
    def schedule_steps(self) -> int:
        """Steps of the schedule, of which the last `steps` are taken."""
        return schedule_steps(self.steps, self.strength)


async def upscaler_of(hires: Hires | None, upscalers: Catalogue) -> ModelSpec | None:
    """Find the entry of the upscaler of a second pass; None if there is none, or it needs no file.

    Raises:
        InvalidRequest: there is no such file, or it cannot be used.
    """
    return None if hires is None else await find_upscaler(upscalers, hires.upscaler, "hires.upscaler")


def strength_of(hires: Hires) -> float:
    """Return the strength of a second pass: less if what it begins from is whole already."""
    if hires.strength is not None:
        return hires.strength
    return _LATENT_DEFAULT_STRENGTH if hires.upscaler in LATENT_UPSCALERS else _PICTURE_DEFAULT_STRENGTH


def schedule_steps(steps: int, strength: float) -> int:
    """Return the length of the shortest schedule of which image to image takes `steps` steps at a strength, above 0 and up to 1.

    `MAX_SCHEDULE + 1` stands for all longer schedules. The web UI, too, takes exactly as many steps as it is told in its second
    pass, of a schedule that is up to one step shorter.
    """
    return bisect_left(range(MAX_SCHEDULE + 1), steps, key=lambda length: int(length * strength))


def target_size(hires: Hires, width: int, height: int, multiple_px: int) -> tuple[int, int]:
    """Return the width and height of the second pass; what is not stated is rounded down to the family's multiple."""
    if hires.width is not None and hires.height is not None:
        return hires.width, hires.height
    if hires.width is not None:
        return hires.width, _down(height * hires.width / width, multiple_px)
    if hires.height is not None:
        return _down(width * hires.height / height, multiple_px), hires.height
    scale = hires.scale or DEFAULT_SCALE
    return _down(width * scale, multiple_px), _down(height * scale, multiple_px)


def second_pass(
    hires: Hires,
    *,
    size: tuple[int, int],
    first_size: tuple[int, int],
    first_steps: int,
    count: int,
    sampler: SamplerChoice,
    upscaler: ModelSpec | None,
) -> SecondPass:
    """Resolve a second pass whose fields have been checked.

    Args:
        hires: as the client sent it.
        size: of the second pass.
        first_size: of the first pass.
        first_steps: steps of the first pass.
        count: number of images.
        sampler: of the first pass.
        upscaler: entry of `hires.upscaler` if it is a file.
    """
    network = None
    if upscaler is not None:
        factor = max(size[0] / first_size[0], size[1] / first_size[1])
        network = outlined(upscaler, width=first_size[0], height=first_size[1], count=count, factor=factor)
    return SecondPass(
        width=size[0],
        height=size[1],
        steps=hires.steps or first_steps,
        strength=strength_of(hires),
        upscaler=hires.upscaler if upscaler is None else upscaler.name,
        upscaler_version=None if upscaler is None else upscaler.version,
        network=network,
        sampler=_sampler(hires, sampler),
    )


def hires_errors(
    hires: Hires, *, size: tuple[int, int], first_size: tuple[int, int], first_steps: int, max_steps: int
) -> Iterator[FieldError]:
    """Find what is wrong with a second pass beside the limits on its sides and pixels."""
    stated = [name for name in ("width", "height") if getattr(hires, name) is not None]
    if stated and hires.scale is not None:
        message = f"must be absent beside hires.{' and hires.'.join(stated)}, which say the same"
        yield FieldError(field="hires.scale", message=message)
    field = f"hires.{stated[0]}" if stated else "hires.scale"
    (width, height), (first_width, first_height) = size, first_size
    shown = f"{width} x {height} beside {first_width} x {first_height}"
    if width < first_width or height < first_height or size == first_size:
        yield FieldError(field=field, message=f"must make the image larger than the first pass does, got {shown}")
    elif max(width / first_width, height / first_height) > MAX_SCALE:
        yield FieldError(field=field, message=f"must be at most {MAX_SCALE:g} times the first pass, got {shown}")
    steps = hires.steps or first_steps
    if steps > max_steps:
        yield FieldError(field="hires.steps", message=f"must be at most {max_steps}, got {steps}")
    elif schedule_steps(steps, strength_of(hires)) > MAX_SCHEDULE:
        yield FieldError(
            field="hires.strength",
            message=f"{steps} steps at strength {strength_of(hires):g} are the end of a schedule of more than {MAX_SCHEDULE} "
            f"steps, and models know {MAX_SCHEDULE}; use at least {steps / MAX_SCHEDULE:.3g}, or fewer hires.steps",
        )


def hires_sampler_errors(hires: Hires, first: SamplerChoice | None) -> Iterator[FieldError]:
    """Find a sampler or a schedule of the second pass that cannot be.

    Args:
        hires: as the client sent it.
        first: sampler of the first pass; None if that is wrong itself.
    """
    try:
        choice = first if hires.sampler is None else parse_sampler(hires.sampler)
    except UnknownSampler as error:
        yield FieldError(field="hires.sampler", message=str(error))
        return
    if choice is None:
        return
    schedule = hires.schedule or choice.schedule
    if hires.discard_penultimate_sigma and schedule == "model":
        yield FieldError(field="hires.discard_penultimate_sigma", message=NEEDS_SCHEDULE)
    try:
        with_schedule(choice, schedule)
    except UnknownSampler as error:
        yield FieldError(field="hires.schedule", message=str(error))


def hires_warnings(hires: Hires, resolved: SecondPass) -> Iterator[str]:
    """Warn of a second pass that is unlikely to do what was meant."""
    if resolved.latent and resolved.strength < _LATENT_STRENGTH:
        yield (
            f"hires.upscaler {resolved.upscaler!r} leaves blurred cells at strength {resolved.strength:g}: use at least "
            f"{_LATENT_STRENGTH:g}, or another upscaler."
        )
    if hires.upscaler_version not in (None, resolved.upscaler_version):
        yield (
            f"The file of upscaler {resolved.upscaler!r} has changed since hires.upscaler_version "
            f"{hires.upscaler_version!r}, it is {resolved.upscaler_version!r} now: the image may differ."
        )


def resolved_hires(second: SecondPass) -> ResolvedHires:
    """Express a second pass in the parameters of a client."""
    return ResolvedHires(
        width=second.width,
        height=second.height,
        steps=second.steps,
        strength=second.strength,
        upscaler=second.upscaler,
        upscaler_version=second.upscaler_version,
        sampler=str(second.sampler),
        schedule=second.sampler.schedule,
        discard_penultimate_sigma=second.sampler.discard_penultimate,
    )


def _sampler(hires: Hires, first: SamplerChoice) -> SamplerChoice:
    choice = first if hires.sampler is None else parse_sampler(hires.sampler)
    chosen = choice if hires.schedule is None else with_schedule(choice, hires.schedule)
    stated = hires.discard_penultimate_sigma
    discard = first.discard_penultimate if stated is None else stated
    return replace(chosen, discard_penultimate=discard and chosen.schedule != "model")


def _down(side_px: float, multiple_px: int) -> int:
    return max(int(side_px + 1e-6) // multiple_px * multiple_px, multiple_px)
