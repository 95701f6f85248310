"""What a person states beats what was read from the files, and is refused if it does not fit the family."""

import pytest

from litestar_diffusion.domain.errors import InvalidSettings
from litestar_diffusion.domain.families.overrides import apply_overrides
from litestar_diffusion.domain.families.reading import CheckpointFile, Reading
from litestar_diffusion.domain.families.registry import read_checkpoint
from litestar_diffusion.domain.models.spec import FewStep, ModelOverrides, PreviewFactors
from tests.headers import SDXL, Shapes


def reading(extra: Shapes | None = None, name: str = "model") -> Reading:
    shapes = {**SDXL, **(extra or {})}
    return read_checkpoint(CheckpointFile(shapes=shapes, metadata={}, name=name, read_config=lambda _: None))


def test_what_a_person_states_beats_what_is_found_and_the_evidence_says_so() -> None:
    found = reading({"v_pred": (), "ztsnr": ()}, name="x-turbo")
    stated = apply_overrides(
        found, ModelOverrides(prediction_type="epsilon", zero_snr=False, few_step=False), "the sidecar"
    )
    assert (stated.traits.prediction_type, stated.traits.zero_snr, stated.traits.few_step) == ("epsilon", False, None)
    assert all("the sidecar says so" in line for line in stated.evidence[:3])


@pytest.mark.parametrize(
    ("name", "overrides", "steps"),
    [
        ("model", ModelOverrides(few_step="lightning"), 4),
        ("lightning_8step", ModelOverrides(few_step="lightning"), 8),
        ("lightning_8step", ModelOverrides(few_step="hyper", num_inference_steps=2), 2),
    ],
)
def test_a_stated_kind_takes_the_stated_steps_then_those_of_the_name(
    name: str, overrides: ModelOverrides, steps: int
) -> None:
    stated = apply_overrides(reading(name=name), overrides, "the sidecar").traits.few_step
    assert stated == FewStep(kind=overrides.few_step or "turbo", steps=steps)


def test_nothing_stated_changes_nothing() -> None:
    found = reading()
    assert apply_overrides(found, ModelOverrides(guidance_scale=3.0), "the sidecar") is found


@pytest.mark.parametrize(
    ("overrides", "field", "message"),
    [
        (ModelOverrides(width=100), "width", "must be a multiple of 8 for SDXL, got 100"),
        (ModelOverrides(height=513), "height", "must be a multiple of 8 for SDXL, got 513"),
        (ModelOverrides(preview=PreviewFactors(factors=((0.1, 0.2, 0.3),))), "preview.factors", "must have 4 rows"),
    ],
)
def test_what_does_not_fit_the_family_is_refused(overrides: ModelOverrides, field: str, message: str) -> None:
    with pytest.raises(InvalidSettings) as refusal:
        apply_overrides(reading(), overrides, "its sidecar 'model.toml'")
    assert [(error.field, message in error.message) for error in refusal.value.errors] == [(field, True)]
