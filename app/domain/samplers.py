"""The samplers that a request may name: one canonical name each, the spellings that people use, what each can do."""

import re
from dataclasses import dataclass
from typing import Literal

SigmaSchedule = Literal["default", "karras", "exponential", "beta"]


class UnknownSampler(ValueError):
    """No sampler has this name; the message lists those that exist."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SamplerSpec:
    """One sampler of the table."""

    name: str
    """Canonical, as in `euler_a`."""
    label: str
    """As older clients show it, as in `Euler a`."""
    aliases: tuple[str, ...] = ()
    zero_snr: bool = False
    """Whether it honours a noise schedule rescaled to zero terminal SNR."""
    sigmas: tuple[SigmaSchedule, ...] = ("default",)
    """The spacings of noise levels that it can be combined with."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SamplerChoice:
    """A sampler and the spacing of its noise levels."""

    name: str
    sigmas: SigmaSchedule = "default"

    def __str__(self) -> str:
        return self.name if self.sigmas == "default" else f"{self.name}_{self.sigmas}"


SAMPLERS: tuple[SamplerSpec, ...] = (
    SamplerSpec(name="euler", label="Euler", zero_snr=True, sigmas=("default", "karras", "exponential", "beta")),
)


def parse_sampler(text: str) -> SamplerChoice:
    """The sampler that `text` means, in any common spelling: `euler_a`, `Euler a`, `DPM++ 2M Karras`, `dpmpp_2m_karras`.

    Raises:
        UnknownSampler: listing the names that exist, or the spacings that the named sampler can do.
    """
    raise UnknownSampler(text)


def spec_of(choice: SamplerChoice) -> SamplerSpec:
    """The table's row for a choice."""
    return next(spec for spec in SAMPLERS if spec.name == choice.name)


def _key(text: str) -> str:
    return re.sub(r"[^a-z0-9+]", "", text.lower())
