"""The samplers that a request may name: one canonical name each, the spellings that people use, what each can do."""

import difflib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal, get_args

from ..shown import cut

SigmaSchedule = Literal[
    "model",
    "normal",
    "karras",
    "exponential",
    "beta",
    "sgm_uniform",
    "simple",
    "ddim_uniform",
    "align_your_steps",
    "align_your_steps_a1111",
]
"""How noise levels are spread over the steps; `model`: by the spacing of the timesteps."""

NEEDS_SCHEDULE = (
    "needs a schedule other than 'model', such as 'karras': the model's own levels are not a list to discard from"
)
"""Message for a penultimate level that is to be discarded of the model's own schedule."""

_MODEL_ONLY: tuple[SigmaSchedule, ...] = ("model",)
_EVERY_SCHEDULE: tuple[SigmaSchedule, ...] = get_args(SigmaSchedule)
_SCHEDULE_WORDS: Mapping[str, SigmaSchedule] = {
    "": "model",
    "model": "model",
    "automatic": "model",
    "normal": "normal",
    "uniform": "normal",
    "karras": "karras",
    "ka": "karras",
    "k": "karras",
    "exponential": "exponential",
    "beta": "beta",
    "sgmuniform": "sgm_uniform",
    "simple": "simple",
    "ddimuniform": "ddim_uniform",
    "alignyoursteps": "align_your_steps",
    "ays": "align_your_steps",
    "alignyourstepsa1111": "align_your_steps_a1111",
}
"""Words that may follow a sampler's name; `ka` is k-diffusion's, as in `k_dpmpp_2m_ka`, and `k`
InvokeAI's, as in `euler_k`. The web UI's `Uniform` is `normal` here."""


class UnknownSampler(ValueError):
    """No sampler has this name, or it cannot do this schedule; the message lists what exists."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SamplerSpec:
    """One sampler of the table."""

    name: str
    """Canonical, as in `euler_a`."""
    label: str
    """Name that AUTOMATIC1111's web UI shows, such as `Euler a`."""
    aliases: tuple[str, ...] = ()
    """Other spellings; case, spaces, punctuation and a trailing `Scheduler` make no difference."""
    zero_snr: bool = False
    """Whether it honours a noise schedule rescaled to zero terminal SNR."""
    v_prediction: bool = True
    """Whether it is as good for models that predict v as for those that predict the noise."""
    schedules: tuple[SigmaSchedule, ...] = _MODEL_ONLY
    """Schedules that it can be combined with."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SamplerChoice:
    """A sampler and the schedule of its noise levels."""

    name: str
    schedule: SigmaSchedule = "model"
    discard_penultimate: bool = False
    """Whether the schedule is made for one step more and its last level but 0 is left out, as in the web UI for some samplers."""

    def __str__(self) -> str:
        return self.name if self.schedule == "model" else f"{self.name}_{self.schedule}"


SAMPLERS: tuple[SamplerSpec, ...] = (
    SamplerSpec(
        name="euler",
        label="Euler",
        aliases=("k_euler", "EulerDiscrete"),
        zero_snr=True,
        schedules=_EVERY_SCHEDULE,
    ),
    SamplerSpec(
        name="euler_a",
        label="Euler a",
        aliases=("euler_ancestral", "k_euler_a", "k_euler_ancestral", "EulerAncestralDiscrete"),
        zero_snr=True,
        schedules=_EVERY_SCHEDULE,
    ),
    SamplerSpec(
        name="heun",
        label="Heun",
        aliases=("k_heun", "HeunDiscrete"),
        schedules=_EVERY_SCHEDULE,
    ),
    SamplerSpec(
        name="dpm2",
        label="DPM2",
        aliases=("dpm_2", "k_dpm_2", "KDPM2", "KDPM2Discrete"),
        schedules=_EVERY_SCHEDULE,
    ),
    SamplerSpec(
        name="dpm2_a",
        label="DPM2 a",
        aliases=("dpm_2_ancestral", "k_dpm_2_a", "k_dpm_2_ancestral", "KDPM2 a", "KDPM2AncestralDiscrete"),
        schedules=_EVERY_SCHEDULE,
    ),
    SamplerSpec(
        name="lms",
        label="LMS",
        aliases=("k_lms", "LMSDiscrete"),
        schedules=_EVERY_SCHEDULE,
    ),
    SamplerSpec(name="ddim", label="DDIM", zero_snr=True),
    SamplerSpec(name="ddpm", label="DDPM", zero_snr=True),
    SamplerSpec(name="pndm", label="PNDM", aliases=("plms",), v_prediction=False),
    SamplerSpec(
        name="dpmpp_2m",
        label="DPM++ 2M",
        aliases=("k_dpmpp_2m", "DPMSolverMultistep"),
        zero_snr=True,
        schedules=_EVERY_SCHEDULE,
    ),
    SamplerSpec(
        name="dpmpp_2m_sde",
        label="DPM++ 2M SDE",
        aliases=("k_dpmpp_2m_sde", "dpmpp_2m_sde_gpu"),
        zero_snr=True,
        schedules=_EVERY_SCHEDULE,
    ),
    SamplerSpec(
        name="dpmpp_3m",
        label="DPM++ 3M",
        aliases=("k_dpmpp_3m",),
        zero_snr=True,
        schedules=_EVERY_SCHEDULE,
    ),
    SamplerSpec(
        name="dpmpp_3m_sde",
        label="DPM++ 3M SDE",
        aliases=("k_dpmpp_3m_sde", "dpmpp_3m_sde_gpu"),
        zero_snr=True,
        schedules=_EVERY_SCHEDULE,
    ),
    SamplerSpec(
        name="dpmpp_2s",
        label="DPM++ 2S",
        aliases=("DPMSolverSinglestep",),
        schedules=_EVERY_SCHEDULE,
    ),
    SamplerSpec(
        name="dpmpp_2s_a",
        label="DPM++ 2S a",
        aliases=("dpmpp_2s_ancestral", "k_dpmpp_2s_a", "k_dpmpp_2s_ancestral"),
        schedules=_EVERY_SCHEDULE,
    ),
    SamplerSpec(
        name="dpmpp_sde",
        label="DPM++ SDE",
        aliases=("k_dpmpp_sde", "dpmpp_sde_gpu"),
        schedules=_EVERY_SCHEDULE,
    ),
    SamplerSpec(
        name="unipc",
        label="UniPC",
        aliases=("uni_pc", "uni_pc_bh2", "UniPCMultistep"),
        zero_snr=True,
        schedules=_EVERY_SCHEDULE,
    ),
    SamplerSpec(name="deis", label="DEIS", aliases=("DEISMultistep",), schedules=_EVERY_SCHEDULE),
    SamplerSpec(name="lcm", label="LCM", zero_snr=True),
    SamplerSpec(name="tcd", label="TCD", zero_snr=True),
    SamplerSpec(name="sa_solver", label="SA Solver"),
)


def parse_sampler(text: str) -> SamplerChoice:
    """Find the sampler that `text` means, in any common spelling: `euler_a`, `Euler a`, `DPM++ 2M Karras`.

    Raises:
        UnknownSampler: listing the names that exist, or the schedules that the named sampler can do.
    """
    choice = _CHOICES.get(_key(text))
    if choice is None:
        raise UnknownSampler(_unknown(text))
    return with_schedule(choice, choice.schedule)


def with_schedule(choice: SamplerChoice, schedule: SigmaSchedule) -> SamplerChoice:
    """Combine a sampler with a schedule.

    Raises:
        UnknownSampler: listing the schedules that the sampler can do.
    """
    able = spec_of(choice).schedules
    if schedule not in able:
        raise UnknownSampler(
            f"sampler {choice.name!r} cannot be combined with schedule {schedule!r}, only with: {', '.join(able)}"
        )
    return SamplerChoice(name=choice.name, schedule=schedule)


def spec_of(choice: SamplerChoice) -> SamplerSpec:
    """Find the table's row for a choice."""
    return next(spec for spec in SAMPLERS if spec.name == choice.name)


def zero_snr_samplers() -> tuple[str, ...]:
    """List the samplers that honour zero terminal SNR."""
    return tuple(spec.name for spec in SAMPLERS if spec.zero_snr)


def _key(text: str) -> str:
    plain = re.sub(r"[^a-z0-9]", "", text.lower().replace("+", "p"))
    return plain.replace("scheduler", "")


def _spellings() -> Iterator[tuple[str, SamplerChoice]]:
    for spec in SAMPLERS:
        for spelling in (spec.name, spec.label, *spec.aliases):
            for word, schedule in _SCHEDULE_WORDS.items():
                yield _key(spelling) + word, SamplerChoice(name=spec.name, schedule=schedule)


_CHOICES: Mapping[str, SamplerChoice] = dict(_spellings())


def _unknown(text: str) -> str:
    text = cut(text)  # before it is compared: that takes time in proportion to its length
    close = difflib.get_close_matches(_key(text), _CHOICES, n=3)
    names = dict.fromkeys(repr(str(_CHOICES[key])) for key in close)
    hint = f" Did you mean {' or '.join(names)}?" if names else ""
    every = ", ".join(spec.name for spec in SAMPLERS)
    schedules = ", ".join(_EVERY_SCHEDULE)
    return f"there is no sampler {text!r}.{hint} Samplers: {every}; most of them also with a schedule: {schedules}"
