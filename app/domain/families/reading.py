"""What a family reads from the files of a model, and how a person corrects it. No tensor is read."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import msgspec

from ..models.spec import FewStep, ModelOverrides, ModelTraits, PredictionType
from .distillation import USUAL_STEPS

Shapes = Mapping[str, tuple[int, ...]]
"""Tensor names and shapes."""
ReadConfig = Callable[[str], bytes | None]
"""Content of a config file by its path inside a folder, such as `unet/config.json`; None if there is no such file. It raises
NotServable if the file cannot be read."""

PREDICTION_TITLES: dict[PredictionType, str] = {"epsilon": "epsilon prediction", "v_prediction": "v-prediction"}


class NotServable(ValueError):
    """The files are of no model that a family serves; the message says what they are, and what to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckpointFile:
    """One `.safetensors` file, as far as its header tells."""

    shapes: Shapes
    metadata: Mapping[str, str]
    name: str
    """File name without suffix; the weakest evidence."""
    read_config: ReadConfig
    """Reads component configs beside the file; finds none if there are none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DiffusersFolder:
    """A folder in the diffusers layout, as far as its configs and headers tell."""

    pipeline: str
    """Class that its `model_index.json` names."""
    parts: Mapping[str, Sequence[str | None] | None]
    """Library and class of each component; nulls for one that is left out."""
    names: tuple[str, ...]
    """What the model is called, most telling first."""
    read_config: ReadConfig
    read_shapes: Callable[[str], Shapes]
    """Reads the headers of the weights of a component; raises NotServable if there are none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """Traits, and how each was found, in words."""

    traits: ModelTraits
    evidence: tuple[str, ...]
    networks: object = None
    """Sizes of the networks, as the family's memory estimate needs them; None: its usual ones."""


def apply_overrides(reading: Reading, overrides: ModelOverrides, origin: str) -> Reading:
    """Replace traits by what a person states; `origin` says where, for the evidence."""
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
    if not stated:
        return reading
    traits = msgspec.structs.replace(reading.traits, **stated)
    return replace(reading, traits=traits, evidence=(*evidence, *reading.evidence))


def _stated_few_step(overrides: ModelOverrides, found: FewStep | None) -> FewStep | None:
    """The kind that a person states; its steps too, or else those of the name, or else the usual ones."""
    if not overrides.few_step:
        return None
    named = found.steps if found is not None and found.kind == overrides.few_step else None
    return FewStep(
        kind=overrides.few_step, steps=overrides.num_inference_steps or named or USUAL_STEPS[overrides.few_step]
    )
