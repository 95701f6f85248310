"""Samplers and schedulers under the web UI's names, and what they mean here. Pure functions.

The web UI has noise levels of k-diffusion for every scheduler, from the largest of training; this server's `model` schedule
keeps those of the model's own config instead, so that in this dialect a sampler that is named always gets one of k-diffusion's.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from ...domain.errors import FieldError, InvalidRequest
from ...domain.models.spec import TimestepSpacing
from ...domain.requests.samplers import (
    SAMPLERS,
    SamplerSpec,
    SigmaSchedule,
    UnknownSampler,
    parse_sampler,
    spec_of,
)
from ...domain.validation import cut


@dataclass(frozen=True, slots=True, kw_only=True)
class Scheduler:
    """A scheduler of the web UI."""

    name: str
    label: str
    schedule: SigmaSchedule | None
    """Noise levels that it stands for; None: those that the sampler's definition says."""
    aliases: tuple[str, ...] = ()
    default_rho: float = -1.0
    need_inner_model: bool = False


SCHEDULERS: tuple[Scheduler, ...] = (
    Scheduler(name="automatic", label="Automatic", schedule=None),
    Scheduler(name="uniform", label="Uniform", schedule="normal", need_inner_model=True),
    Scheduler(name="karras", label="Karras", schedule="karras", default_rho=7.0),
    Scheduler(name="exponential", label="Exponential", schedule="exponential"),
    # With the exponent 1, which is its default, the polyexponential schedule is the exponential one.
    Scheduler(name="polyexponential", label="Polyexponential", schedule="exponential", default_rho=1.0),
    Scheduler(
        name="sgm_uniform",
        label="SGM Uniform",
        schedule="sgm_uniform",
        aliases=("SGMUniform",),
        need_inner_model=True,
    ),
    Scheduler(name="align_your_steps", label="Align Your Steps", schedule="align_your_steps_a1111"),
    Scheduler(name="simple", label="Simple", schedule="simple", need_inner_model=True),
    Scheduler(name="normal", label="Normal", schedule="normal", need_inner_model=True),
    Scheduler(name="ddim", label="DDIM", schedule="ddim_uniform", aliases=("ddim_uniform",), need_inner_model=True),
    Scheduler(name="beta", label="Beta", schedule="beta", need_inner_model=True),
)

_AUTOMATIC: Mapping[str, SigmaSchedule] = {
    "dpmpp_2m": "karras",
    "dpmpp_sde": "karras",
    "dpmpp_2s_a": "karras",
    "dpm2": "karras",
    "dpm2_a": "karras",
    "dpmpp_2m_sde": "exponential",
    "dpmpp_3m_sde": "exponential",
}
"""Schedules of the samplers whose definition in the web UI (1.9 and later) says one; all others get equal timesteps."""


_DISCARDING = frozenset({"dpm2", "dpm2_a", "dpmpp_3m_sde"})
"""Samplers for which the web UI makes noise levels for one step more, and leaves out the last but 0."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampling:
    """Sampler and schedule of a request in this server's words; None: the model's own."""

    sampler: str | None = None
    schedule: SigmaSchedule | None = None
    warnings: tuple[str, ...] = ()

    @property
    def discard_penultimate(self) -> bool:
        """Whether the web UI leaves out the last level but 0."""
        return self.sampler in _DISCARDING and self.schedule is not None

    @property
    def timestep_spacing(self) -> TimestepSpacing | None:
        """With noise levels of a schedule, the spacing only decides how much noise there is at first.

        With this one the samplers of k-diffusion begin as in the web UI, with noise times the largest level.
        """
        return "linspace" if self.schedule is not None else None


def sampling(sampler_name: str, scheduler: str) -> Sampling:
    """Find what a sampler and a scheduler mean; a scheduler at the end of the sampler's name wins, as in the web UI.

    Args:
        sampler_name: such as `Euler a` or `DPM++ 2M Karras`; empty: the model's own sampler.
        scheduler: name or label, in any case; empty: automatic.

    Raises:
        InvalidRequest: there is no such sampler or scheduler.
    """
    if not sampler_name:
        return _models_own(scheduler)
    base, stated = _split(sampler_name)
    try:
        choice = parse_sampler(base)
    except UnknownSampler as error:
        raise InvalidRequest([FieldError(field="sampler_name", message=str(error))]) from error
    spec = spec_of(choice)
    if choice.schedule != "model":  # a spelling of this server's own, such as `dpmpp_2m_karras`
        return Sampling(sampler=spec.name, schedule=choice.schedule)
    return _combined(spec, stated or _scheduler(scheduler))


def automatic(spec: SamplerSpec) -> SigmaSchedule | None:
    """Return the schedule that `automatic` means for a sampler; None for one that has its own timesteps."""
    schedule = _AUTOMATIC.get(spec.name, "normal")
    return schedule if schedule in spec.schedules else None


def _models_own(scheduler: str) -> Sampling:
    found = _scheduler(scheduler)
    ignored = f"scheduler {found.label!r} was ignored: no sampler_name came with it, and the model has its own."
    return Sampling(warnings=(ignored,) if found.schedule is not None else ())


def _combined(spec: SamplerSpec, scheduler: Scheduler) -> Sampling:
    if scheduler.schedule is None:
        return Sampling(sampler=spec.name, schedule=automatic(spec))
    if scheduler.schedule in spec.schedules:
        return Sampling(sampler=spec.name, schedule=scheduler.schedule)
    ignored = f"scheduler {scheduler.label!r} was ignored: sampler {spec.label!r} has timesteps of its own."
    return Sampling(sampler=spec.name, warnings=(ignored,))


def _split(sampler_name: str) -> tuple[str, Scheduler | None]:
    """Divide `DPM++ 2M Karras` into the sampler and the scheduler."""
    for scheduler in sorted(SCHEDULERS, key=lambda one: -len(one.label)):  # `SGM Uniform` before `Uniform`
        for name in (scheduler.label, scheduler.name, *scheduler.aliases):
            if sampler_name.lower().endswith(f" {name.lower()}"):
                return sampler_name[: -len(name) - 1], scheduler
    return sampler_name, None


def _scheduler(text: str) -> Scheduler:
    key = _key(text) or "automatic"
    for scheduler in SCHEDULERS:
        if key in {_key(name) for name in (scheduler.name, scheduler.label, *scheduler.aliases)}:
            return scheduler
    known = ", ".join(scheduler.label for scheduler in SCHEDULERS)
    message = f"there is no scheduler {cut(text)!r}. Schedulers: {known}"
    raise InvalidRequest([FieldError(field="scheduler", message=message)])


def _key(text: str) -> str:
    return re.sub(r"[^a-z0-9]", "", cut(text).lower())


def sampler_aliases(spec: SamplerSpec) -> list[str]:
    """List the other names of a sampler."""
    return [spec.name, *spec.aliases]


def all_samplers() -> tuple[SamplerSpec, ...]:
    """List the samplers in the order of this server's table."""
    return SAMPLERS
