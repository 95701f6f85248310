"""What a model predicts, and the noise that it was trained with: read from keys, metadata, configs and names."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from ...models.spec import PredictionType
from ..reading import PREDICTION_TITLES, Doubt, NotServable, Shapes
from .configs import SamplerConfig

_PREDICTIONS: dict[str, PredictionType] = {
    "epsilon": "epsilon",
    "eps": "epsilon",
    "noise": "epsilon",
    "epsilon_prediction": "epsilon",
    "v": "v_prediction",
    "velocity": "v_prediction",
    "v_prediction": "v_prediction",
    "v_parameterization": "v_prediction",
    "v_pred": "v_prediction",
    "vpred": "v_prediction",
}
_STATED_KEY = "modelspec.prediction_type"
_UNSTATED = frozenset({"", "none", "null", "unknown"})
_V_KEYS = ("ss_v_parameterization", "modelspec.v_parameterization")
_ZERO_SNR_KEYS = ("modelspec.zero_terminal_snr", "ss_zero_terminal_snr")
_TRUE = ("true", "1", "yes")
_SAYS_V = re.compile(r"(?<![a-z])v[ _-]?pred", re.IGNORECASE)
_MAX_SHOWN_CHARS = 60
_WHERE = "in its sidecar or in the settings"
_ABOUT_PREDICTION = frozenset({"prediction_type"})


@dataclass(frozen=True, slots=True, kw_only=True)
class NoiseReading:
    """The prediction type and the end of the noise schedule, as they were read."""

    prediction_type: PredictionType
    zero_snr: bool
    evidence: tuple[str, ...]
    doubts: tuple[Doubt, ...] = ()


@dataclass(frozen=True, slots=True)
class _Prediction:
    found: PredictionType
    how: str
    is_stated: bool = True
    doubts: tuple[Doubt, ...] = ()


def read_noise(shapes: Shapes, metadata: Mapping[str, str], sampler: SamplerConfig, name: str) -> NoiseReading:
    """Read what a model predicts and whether its schedule ends in pure noise.

    Raises:
        NotServable: the sampler config names a prediction type that is not served.
    """
    prediction = _prediction(shapes, metadata, sampler)
    in_file, how_zero = _zero_snr(shapes, metadata)
    if in_file and prediction.found == "epsilon":
        return _zero_snr_without_v(prediction, how_zero)
    zero_snr = in_file or bool(sampler.rescale_betas_zero_snr)
    if not in_file and zero_snr:
        how_zero = "zero terminal SNR: its scheduler_config.json says so"
    doubts = prediction.doubts or _doubts_of_name(prediction, name)
    return NoiseReading(
        prediction_type=prediction.found, zero_snr=zero_snr, evidence=(prediction.how, how_zero), doubts=doubts
    )


def _prediction(shapes: Shapes, metadata: Mapping[str, str], sampler: SamplerConfig) -> _Prediction:
    if "v_pred" in shapes:
        return _Prediction("v_prediction", "v-prediction: the file holds the key v_pred")
    stated = re.sub(r"[\s-]+", "_", metadata.get(_STATED_KEY, "").strip().lower())
    if stated in _PREDICTIONS:
        found = _PREDICTIONS[stated]
        return _Prediction(found, f"{PREDICTION_TITLES[found]}: {_STATED_KEY} is {metadata[_STATED_KEY]!r}")
    if stated not in _UNSTATED:
        refusal = _unknown_prediction(metadata[_STATED_KEY])
        return _Prediction("epsilon", f"epsilon prediction: {_STATED_KEY} is no known one", doubts=(refusal,))
    flag = next((key for key in _V_KEYS if _is_true(metadata, key)), None)
    if flag is not None:
        return _Prediction("v_prediction", f"v-prediction: {flag} is {metadata[flag]!r}")
    return _prediction_of_config(sampler)


def _prediction_of_config(sampler: SamplerConfig) -> _Prediction:
    if sampler.prediction_type is None:
        silence = "epsilon prediction: nothing says otherwise (no key v_pred, no modelspec.prediction_type)"
        return _Prediction("epsilon", silence, is_stated=False)
    if sampler.prediction_type not in _PREDICTIONS:
        raise NotServable(
            f"its scheduler_config.json says that it predicts {sampler.prediction_type!r}; that is not served."
        )
    found = _PREDICTIONS[sampler.prediction_type]
    return _Prediction(found, f"{PREDICTION_TITLES[found]}: its scheduler_config.json says so")


def _zero_snr(shapes: Shapes, metadata: Mapping[str, str]) -> tuple[bool, str]:
    if "ztsnr" in shapes:
        return True, "zero terminal SNR: the file holds the key ztsnr"
    stated = next((key for key in _ZERO_SNR_KEYS if _is_true(metadata, key)), None)
    if stated is not None:
        return True, f"zero terminal SNR: {stated} is {metadata[stated]!r}"
    return False, "no zero terminal SNR: nothing speaks for it (no key ztsnr)"


def _zero_snr_without_v(prediction: _Prediction, how_zero: str) -> NoiseReading:
    """At zero SNR there is nothing but noise, so that its prediction says nothing: one of the two is wrong."""
    if prediction.is_stated:
        text = (
            "The file says both epsilon prediction and zero terminal SNR, which exclude each other; it is served without the "
            f'latter. If its images are noise, set prediction_type = "v_prediction" and zero_snr = true {_WHERE}.'
        )
        doubt = Doubt(about=frozenset({"prediction_type", "zero_snr"}), text=text)
        without = "no zero terminal SNR: it excludes epsilon prediction"
        doubts = (*prediction.doubts, doubt)
        return NoiseReading(
            prediction_type="epsilon", zero_snr=False, evidence=(prediction.how, without), doubts=doubts
        )
    text = (
        "The file says zero terminal SNR and not what it predicts; v-prediction is assumed, because epsilon prediction "
        f'cannot work with it. If its images are noise, set prediction_type = "epsilon" {_WHERE}.'
    )
    how = "v-prediction: zero terminal SNR needs it, and nothing says otherwise"
    return NoiseReading(
        prediction_type="v_prediction",
        zero_snr=True,
        evidence=(how, how_zero),
        doubts=(Doubt(about=_ABOUT_PREDICTION, text=text),),
    )


def _unknown_prediction(value: str) -> Doubt:
    shown = value if len(value) <= _MAX_SHOWN_CHARS else f"{value[:_MAX_SHOWN_CHARS]}…"
    text = (
        f"its {_STATED_KEY} is {shown!r}; only epsilon and v_prediction are served. If that is wrong, set "
        f'prediction_type = "epsilon" or "v_prediction" {_WHERE}.'
    )
    return Doubt(about=_ABOUT_PREDICTION, text=text, refuses=True)


def _doubts_of_name(prediction: _Prediction, name: str) -> tuple[Doubt, ...]:
    if prediction.found != "epsilon" or not _SAYS_V.search(name):
        return ()
    text = (
        "The model's name sounds like v-prediction, and its file does not say so: it is served as epsilon prediction. Set "
        f'prediction_type = "v_prediction" {_WHERE} if its images are noise, or "epsilon" to end this warning.'
    )
    return (Doubt(about=_ABOUT_PREDICTION, text=text),)


def _is_true(metadata: Mapping[str, str], key: str) -> bool:
    return metadata.get(key, "").strip().lower() in _TRUE
