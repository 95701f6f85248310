"""What a model is: its name, its source, its traits and its defaults."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal, NewType

import msgspec
from msgspec import Meta

from .adapters import AdapterChoice

ModelName = NewType("ModelName", str)
"""A name in the catalogue. Only the catalogue makes them: no text of a client becomes one without a look-up."""

PredictionType = Literal["epsilon", "v_prediction"]
ModelKind = Literal["base", "inpainting", "refiner"]
FewStepKind = Literal["turbo", "lightning", "hyper", "lcm", "dmd2", "tcd", "pcm", "flash"]
DtypeName = Literal["auto", "bfloat16", "float16", "float32"]
TimestepSpacing = Literal["leading", "linspace", "trailing"]
Residency = Literal["cold", "host", "device"]
"""Place of a model's weights: on disk only, in host memory, or on the device."""
Heat = Literal["hot", "warm", "cold"]
HEAT: dict[Residency, Heat] = {"device": "hot", "host": "warm", "cold": "cold"}
"""Words of the API, the logs and the metrics for the residency of a model when a request took it."""

MODEL_NAME_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$"

Steps = Annotated[int, Meta(ge=1, le=1000)]
Guidance = Annotated[float, Meta(ge=0, le=100)]
SizePx = Annotated[int, Meta(ge=64, le=16384)]


@dataclass(frozen=True, slots=True, kw_only=True)
class HubRepository:
    """A repository on the Hugging Face Hub, in the diffusers folder layout."""

    repo: str
    revision: str | None = None
    variant: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """One `.safetensors` file that holds all networks of a model."""

    path: Path
    config: Path | None = None
    """Folder whose component configs replace those that ship with the family."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Folder:
    """A local folder in the diffusers layout."""

    path: Path


ModelSource = HubRepository | Checkpoint | Folder


class FewStep(msgspec.Struct, frozen=True, kw_only=True):
    """A model distilled to make an image in few steps, without guidance or with little."""

    kind: FewStepKind
    steps: Steps
    guidance_scale: Guidance = 0.0
    """Guidance that it is made for."""


class ModelTraits(msgspec.Struct, frozen=True, kw_only=True):
    """Traits of a checkpoint."""

    family: str = ""
    """Name of its family; empty if no family has recognised it."""
    kind: ModelKind = "base"
    prediction_type: PredictionType = "epsilon"
    zero_snr: bool = False
    """Trained with a noise schedule rescaled to zero terminal SNR (Lin et al. 2023, arXiv:2305.08891)."""
    few_step: FewStep | None = None
    size_px: int = 0
    """Side in pixels of the square that the model was trained on; 0 if no family has recognised it."""
    sampler: str | None = None
    """Sampler that the scheduler config of its folder means; None if it has none."""
    timestep_spacing: TimestepSpacing | None = None
    """Spacing of the timesteps that the same config states."""


_Factor = Annotated[float, Meta(ge=-100, le=100)]
_Colour = tuple[_Factor, _Factor, _Factor]


class PreviewFactors(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The linear map that previews are made with: red, green and blue in -1..1 are latent x factors + bias.

    `latent` are the numbers of a cell as the denoiser has them, scaled by the VAE's scaling factor.
    """

    # No tuple, because Litestar documents the items of `tuple[X, ...]` as "exactly one of X and anything".
    factors: Annotated[Sequence[_Colour], Meta(min_length=1, max_length=64)]
    """A row for each channel of the latent."""
    bias: _Colour = (0.0, 0.0, 0.0)


class ModelOverrides(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Statements of a person about a model, in its sidecar or in the settings; None means: as detected.

    The first three correct the traits. `dtype` and `config` say how to load, `preview` how unfinished images are shown. The
    rest are defaults of requests.
    """

    prediction_type: PredictionType | None = None
    zero_snr: bool | None = None
    few_step: FewStepKind | Literal[False] | None = None
    """`false` for a model whose name only sounds like one."""
    dtype: DtypeName | None = None
    config: str | None = None
    """Name of a folder beside a checkpoint whose component configs replace the shipped ones."""
    sampler: str | None = None
    timestep_spacing: TimestepSpacing | None = None
    num_inference_steps: Steps | None = None
    guidance_scale: Guidance | None = None
    guidance_rescale: Annotated[float, Meta(ge=0, le=1)] | None = None
    negative_prompt: str | None = None
    width: SizePx | None = None
    height: SizePx | None = None
    clip_skip: Annotated[int, Meta(ge=0, le=10)] | None = None
    adapters: Annotated[Sequence[AdapterChoice], Meta(max_length=64)] | None = None
    """Adapters of every request, before those that a request names itself."""
    vae: Annotated[str, Meta(min_length=1, max_length=256)] | None = None
    """Name of a VAE of `models/vae/` that replaces the model's own."""
    base: Annotated[str, Meta(min_length=1, max_length=256)] | None = None
    """Model whose files a preset has: a sidecar without weights beside it. The other overrides are its own, then the base's."""
    preview: PreviewFactors | None = None
    """Map from latents to preview colours, for a model with a VAE of its own. The family's if absent."""


class HubModel(ModelOverrides, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A `[[models.hub]]` entry: a repository on the Hugging Face Hub under a name of its own."""

    name: Annotated[str, Meta(pattern=MODEL_NAME_PATTERN)]
    repo: Annotated[str, Meta(pattern=r"^[\w.-]+/[\w.-]+$")]
    revision: str | None = None
    variant: str | None = None
    """Variant of the repository's files, such as `fp16`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelSpec:
    """A catalogue entry: everything that is known of a model without reading a tensor."""

    name: ModelName
    source: ModelSource
    traits: ModelTraits
    evidence: tuple[str, ...] = ()
    """Evidence for the traits, in words, strongest first."""
    doubts: tuple[str, ...] = ()
    """Doubts about the traits that change the picture, in words; every answer repeats them."""
    overrides: ModelOverrides = field(default_factory=ModelOverrides)
    """Statements of the settings, then of the sidecar."""
    dtype: DtypeName = "auto"
    nbytes: int | None = None
    """Size of the weights on disk in bytes; None until it is known (a repository not downloaded yet)."""
    version: str = ""
    """Text that changes with the files, the sidecar or the settings of the model."""
    files_version: str = ""
    """Version of the model that a preset has its files of; empty for a model of its own."""
    base: ModelName | None = None
    """Model that a preset has its files of; None for a model of its own."""
    unusable: str | None = None
    """Reason for which the files cannot be used; None for a usable model."""
    builtin: bool = False
    """Whether it ships with the package."""
    aliases: tuple[str, ...] = ()
    """Other names that the catalogue finds it by."""
    networks: object = None
    """Sizes of its networks, as its family's memory estimate needs them; None: the family's usual ones."""

    @property
    def weights(self) -> tuple[ModelSource, DtypeName, str]:
        """Equal for entries with the same weights in memory: a model and its presets."""
        return self.source, self.dtype, self.files_version or self.version

    @property
    def on_disk(self) -> bool:
        """Whether its files are there, so that traits and defaults are those of the files and no guess."""
        return self.nbytes is not None
