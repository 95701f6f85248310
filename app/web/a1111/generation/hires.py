"""Translates the fields of the web UI's second pass. Pure functions."""

from collections.abc import Iterator

from ....domain.errors import FieldError
from ....domain.requests.fields import MAX_SCALE
from ....domain.requests.hires import Hires
from ...http.errors.renamed import renamed_fields
from ..samplers import sampling
from ..upscalers import hires_upscaler
from .txt2img_wire import Txt2ImgRequest

_USUAL_STRENGTH = 0.75
"""What the web UI takes if `denoising_strength` is absent."""
_SAME = ("", "None", "Use same checkpoint", "Use same sampler", "Use same scheduler")


def hires_of(asked: Txt2ImgRequest) -> Hires | None:
    """Return the second pass of a request; None if it has none. Call `wrong_hires` first."""
    if not asked.enable_hr:
        return None
    width, height = asked.hr_resize_x or None, asked.hr_resize_y or None
    sampler = asked.hr_sampler_name if asked.hr_sampler_name not in _SAME else ""
    scheduler = asked.hr_scheduler if asked.hr_scheduler not in _SAME else ""
    with renamed_fields({"scheduler": "hr_scheduler", **({"sampler_name": "hr_sampler_name"} if sampler else {})}):
        found = sampling(sampler or asked.sampler_name, scheduler) if sampler or scheduler else None
    return Hires(
        scale=asked.hr_scale if width is None and height is None else None,
        width=width,
        height=height,
        steps=asked.hr_second_pass_steps,
        strength=_USUAL_STRENGTH if asked.denoising_strength is None else asked.denoising_strength,
        upscaler=hires_upscaler(asked.hr_upscaler),
        sampler=None if found is None else found.sampler,
        schedule=None if found is None else found.schedule,
        discard_penultimate_sigma=None if found is None else found.discard_penultimate,
    )


def wrong_hires(asked: Txt2ImgRequest) -> Iterator[FieldError]:
    """Find fields of the second pass that cannot be, or ask for what does not exist here."""
    if not asked.enable_hr:
        return
    if asked.denoising_strength is not None and not 0 < asked.denoising_strength <= 1:
        message = f"must be above 0 and at most 1 with enable_hr, got {asked.denoising_strength:g}"
        yield FieldError(field="denoising_strength", message=message)
    if not 0 <= asked.hr_scale <= MAX_SCALE:
        yield FieldError(field="hr_scale", message=f"must be from 0 to {MAX_SCALE:g}, got {asked.hr_scale:g}")
    for name in ("hr_checkpoint_name", "hr_prompt", "hr_negative_prompt"):
        if getattr(asked, name) not in _SAME:
            message = "does not exist here: both passes have the same model and prompts"
            yield FieldError(field=name, message=message)
