"""What can be told of a request before any weight is read."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from ..models.spec import ModelSpec, ModelTraits
from .request import GenerationRequest


@dataclass(frozen=True, slots=True, kw_only=True)
class PromptFacts:
    """A prompt as the text encoders will see it."""

    field: str
    """`prompt`, `prompt_2`, `negative_prompt` or `negative_prompt_2`."""
    tokens: int
    """Of the whole text, start, end and padding apart."""
    chunks: int
    """In which it is read."""
    ignored: tuple[str, ...]
    """What is cut or changed, as ends of sentences that begin with the field's name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SamplerFacts:
    """A sampler as it will run."""

    scheduler: str
    """The class of diffusers."""
    config: Mapping[str, Any]
    """Everything that it goes by."""
    timesteps: tuple[float, ...]
    """One for each evaluation of the denoiser."""
    sigmas: tuple[float, ...] | None
    """Its noise levels, where it counts in them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Inspection:
    """What can be told of a request from a model's configs and tokenizers, before any weight is read."""

    prompts: tuple[PromptFacts, ...]
    sampler: SamplerFacts
    traits: ModelTraits
    """As the engine will take them: a folder's own sampler config is heard too."""
    warnings: tuple[str, ...]
    """Those that the engine would give for the prompts."""


class Inspector(Protocol):
    """Reads requests as the engine would; needs no device and no weights."""

    async def inspect(self, spec: ModelSpec, request: GenerationRequest) -> Inspection:
        """Tokenize the prompts and build the sampler, in a worker thread. The family's own configs stand in for missing ones.

        Raises:
            LoadFailed: the model's configs or tokenizers cannot be read.
        """
        ...
