"""Corrects what was read from a model's files by what a person states."""

from collections.abc import Iterator
from dataclasses import replace

import msgspec

from ..errors import FieldError, InvalidSettings
from ..models.spec import FewStep, ModelOverrides, ModelTraits
from .distillation import few_step_of
from .family import Family
from .reading import PREDICTION_TITLES, NotServable, Reading
from .registry import family_named


def apply_overrides(reading: Reading, overrides: ModelOverrides, origin: str) -> Reading:
    """Replace traits by what a person states; `origin` says where, for the evidence.

    Raises:
        InvalidSettings: a statement does not fit the model's family.
    """
    errors = list(_unfit(overrides, family_named(reading.traits.family)))
    if errors:
        raise InvalidSettings(f"What {origin} says of this model", errors)
    stated: dict[str, object] = {}
    evidence: list[str] = []
    if overrides.prediction_type is not None:
        stated["prediction_type"] = overrides.prediction_type
        evidence.append(f"{PREDICTION_TITLES[overrides.prediction_type]}: {origin} says so")
    if overrides.zero_snr is not None:
        stated["zero_snr"] = overrides.zero_snr
        evidence.append(f"{'' if overrides.zero_snr else 'no '}zero terminal SNR: {origin} says so")
    if overrides.few_step is not None:
        stated["few_step"] = _stated_few_step(overrides, reading.traits.few_step)
        evidence.append(
            f"{f'few-step ({overrides.few_step})' if overrides.few_step else 'not few-step'}: {origin} says so"
        )
    few_step = stated.get("few_step", reading.traits.few_step)
    if isinstance(few_step, FewStep) and overrides.guidance_scale is not None:
        stated["few_step"] = msgspec.structs.replace(few_step, guidance_scale=overrides.guidance_scale)
    if not stated:
        return reading
    if stated.get("prediction_type") == "epsilon" and overrides.zero_snr is None:
        stated["zero_snr"] = False  # at zero SNR the noise tells nothing of the picture
    traits: ModelTraits = msgspec.structs.replace(reading.traits, **stated)
    doubts = tuple(doubt for doubt in reading.doubts if not doubt.about & stated.keys())
    return replace(reading, traits=traits, evidence=(*evidence, *reading.evidence), doubts=doubts)


def refuse_doubtful(reading: Reading) -> None:
    """Raise NotServable if a doubt is left that a model is not served with."""
    refusal = next((doubt for doubt in reading.doubts if doubt.refuses), None)
    if refusal is not None:
        raise NotServable(refusal.text)


def _unfit(overrides: ModelOverrides, family: Family) -> Iterator[FieldError]:
    for name in ("width", "height"):
        side_px = getattr(overrides, name)
        if side_px is not None and side_px % family.size_multiple_px:
            yield FieldError(
                field=name, message=f"must be a multiple of {family.size_multiple_px} for {family.title}, got {side_px}"
            )
    if overrides.preview is not None and len(overrides.preview.factors) != family.latent_channels:
        yield FieldError(
            field="preview.factors",
            message=f"must have {family.latent_channels} rows for {family.title}, one for each channel of its latents, "
            f"got {len(overrides.preview.factors)}",
        )


def _stated_few_step(overrides: ModelOverrides, found: FewStep | None) -> FewStep | None:
    """Return the stated kind with the stated steps, or else those of the name, or else the usual ones."""
    if not overrides.few_step:
        return None
    usual = found if found is not None and found.kind == overrides.few_step else few_step_of(overrides.few_step)
    return msgspec.structs.replace(usual, steps=overrides.num_inference_steps or usual.steps)
