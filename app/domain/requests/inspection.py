"""Facts about a request that are known before any weight is read, and the port that finds them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from ..models.spec import ModelSpec, ModelTraits
from .request import GenerationRequest


@dataclass(frozen=True, slots=True, kw_only=True)
class TextFacts:
    """A text that a prompt stands for in some of the steps."""

    text: str
    part: int
    """Number of the part, from 1, that `AND` divides it from the others by."""
    weight: float
    """Of that part in the guidance."""
    first_step: int
    """Counted from 1."""
    last_step: int
    tokens: int
    chunks: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PromptFacts:
    """A prompt as the text encoders will see it."""

    field: str
    """`prompt`, `prompt_2`, `negative_prompt` or `negative_prompt_2`."""
    tokens: int
    """Tokens of the longest of its texts, without start, end and padding."""
    chunks: int
    """Chunks in which that is read."""
    ignored: tuple[str, ...]
    """Parts that are cut or changed, as ends of sentences that begin with the field's name."""
    schedule: tuple[TextFacts, ...]
    """The texts that it stands for, part by part in the order of the steps."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SamplerFacts:
    """A sampler as it will run."""

    scheduler: str
    """Class of diffusers."""
    config: Mapping[str, Any]
    """All its options."""
    timesteps: tuple[float, ...]
    """Timesteps, one for each evaluation of the denoiser."""
    sigmas: tuple[float, ...] | None
    """Noise levels, if it counts in them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Inspection:
    """What a model's configs and tokenizers tell about a request."""

    prompts: tuple[PromptFacts, ...]
    sampler: SamplerFacts
    traits: ModelTraits
    """Traits as the engine will use them, with a folder's own sampler config applied."""
    warnings: tuple[str, ...]
    """Warnings that the engine would give for the prompts."""


class Inspector(Protocol):
    """Reads requests as the engine would; needs no device and no weights."""

    async def inspect(self, spec: ModelSpec, request: GenerationRequest) -> Inspection:
        """Tokenize the prompts and build the sampler, in a worker thread. The family's own configs stand in for missing ones.

        Raises:
            LoadFailed: the model's configs or tokenizers cannot be read.
        """
        ...
