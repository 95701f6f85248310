"""A request in which every choice is made."""

from dataclasses import dataclass
from typing import Literal

from ..models.adapters import AdapterChoice
from ..models.assets import AssetSet
from ..models.embeddings import EmbeddingUse
from ..models.spec import ModelName, TimestepSpacing
from .fields import OutputFormat
from .hires import SecondPass
from .pictures.source import FromNoise, Source
from .prompts.composition import Part, composed_of
from .prompts.editing import Passes
from .samplers import SamplerChoice


@dataclass(frozen=True, slots=True, kw_only=True)
class SizeConditioning:
    """Sizes that the denoiser is told beside the prompt, in pixels (arXiv:2307.01952, section 2.2)."""

    original_size: tuple[int, int]
    """Height and width of the picture that the image is like a crop of."""
    crop: tuple[int, int]
    """Top and left of the crop."""
    target_size: tuple[int, int]
    """Height and width that the crop is like being resized to."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GenerationRequest:
    """A request with every choice made; equal requests give equal images."""

    assets: AssetSet
    """Model and what is added to it."""
    source: Source
    """Source of its first latents."""
    unused_adapters: tuple[AdapterChoice, ...]
    """Adapters of the model's sidecar that the request turns off; a replay must turn them off too."""
    own_vae: bool
    """Whether it keeps the model's own VAE, although its sidecar names another one; a replay must keep it too."""
    prompt: str
    """Without the tags of adapters."""
    prompt_2: str
    negative_prompt: str
    negative_prompt_2: str
    num_inference_steps: int
    guidance_scale: float
    guidance_rescale: float
    width: int
    height: int
    size_conditioning: SizeConditioning
    negative_size_conditioning: SizeConditioning
    seeds: tuple[int, ...]
    sampler: SamplerChoice
    timestep_spacing: TimestepSpacing | None
    """None: as the model's own sampler config says."""
    clip_skip: int
    model_version: str
    """Version of the model's files and settings when the request was resolved."""
    reproducible: bool
    """Whether it must share no step with other requests."""
    long_prompts: bool
    """Whether tokens beyond the first chunk are used."""
    prompt_weighting: bool
    """Whether brackets weigh words and change prompts, and `AND` composes them."""
    output_format: OutputFormat
    output_quality: int
    hires: SecondPass | None = None
    """The pass that follows this one at a larger size."""
    becomes: Literal["images", "pictures", "latents"] = "images"
    """What is made of its latents: images for its client, pictures or latents for a second pass."""
    steps_before: int | None = None
    """Steps of the pass before this one; None: it is the first."""
    embeddings: tuple[EmbeddingUse, ...] = ()
    """Textual inversion embeddings that its prompts name."""

    @property
    def model(self) -> ModelName:
        """The model of its assets."""
        return self.assets.model

    @property
    def count(self) -> int:
        """Number of its images."""
        return len(self.seeds)

    @property
    def denoising_steps(self) -> int:
        """Steps that are taken: all of them from noise, `strength` of them from a picture."""
        return steps_from(self.source, self.num_inference_steps)

    @property
    def prompt_steps(self) -> Passes:
        """The steps that prompts which change are spread over."""
        return Passes(self.denoising_steps, self.steps_before)

    @property
    def parts(self) -> tuple[Part, ...]:
        """The parts that its prompts are composed of, nearly always one."""
        return composed_of(self.prompt, self.prompt_2) if self.prompt_weighting else (Part(self.prompt, self.prompt_2),)

    @property
    def guided(self) -> bool:
        """Whether an unconditional row is needed: for guidance, or to compose parts, whose weights count from there."""
        return self.guidance_scale > 1 or [part.weight for part in self.parts] != [1.0]

    @property
    def rows_an_image(self) -> int:
        """Rows of the denoiser's batch that one image takes: one for each part, and an unconditional one with guidance."""
        return len(self.parts) + self.guided


def steps_from(source: Source, num_inference_steps: int) -> int:
    """Return the number of steps that are taken from a source, as diffusers counts them: rounded down."""
    if isinstance(source, FromNoise):
        return num_inference_steps
    return min(int(num_inference_steps * source.strength), num_inference_steps)


@dataclass(frozen=True, slots=True, kw_only=True)
class Resolved:
    """A request ready to run, and warnings for its sender."""

    request: GenerationRequest
    warnings: tuple[str, ...]
