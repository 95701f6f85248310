"""A family: a kind of model with its own networks. What is particular to it, without torch."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Protocol

from ..models.adapters import AdapterReading
from ..models.embeddings import EmbeddingReading
from ..models.spec import ModelTraits, TimestepSpacing
from ..models.vaes import VaeReading
from .reading import CheckpointFile, DiffusersFolder, Reading


@dataclass(frozen=True, slots=True, kw_only=True)
class Defaults:
    """What a request gets that does not state otherwise."""

    steps: int
    guidance_scale: float
    sampler: str
    timestep_spacing: TimestepSpacing | None
    """None: as the model's own sampler config says."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageShape:
    """What the activations of one image depend on beside the networks."""

    width_px: int
    height_px: int
    rows: int
    """Rows of the denoiser's batch that the image takes: with guidance two or more."""
    element_nbytes: int
    """Bytes of one number in the dtype that the model computes in, 2 or 4."""
    tiled_decode: bool = False
    small_tiles: bool = False
    """Whether a picture is enlarged in smaller tiles than usual."""
    split_guidance: bool = False
    """Whether the rows of guidance run one after the other."""


class Family(Protocol):
    """One kind of model. `registry.FAMILIES` lists them by import path."""

    name: str
    """Identifier, the value of `ModelTraits.family`."""
    title: str
    """Name in messages."""
    runtime: str
    """Import path, `package.module:NAME`, of the `FamilyRuntime` that loads and runs its models; imported with torch."""
    components: Mapping[str, str]
    """Names of the networks of a model, which are folders in the diffusers layout, and their titles for people."""
    config_files: tuple[str, ...]
    """Files of a diffusers folder that describe it, without which it is unfinished."""
    size_multiple_px: int
    """Widths and heights are multiples of it."""
    latent_channels: int
    """Numbers in one cell of a latent, each of which has a row in `PreviewFactors`; 0 for a family without latents."""
    clip_skip_base: int
    """Number by which AUTOMATIC1111's web UI counts the layer that `clip_skip` 0 means."""

    def read_checkpoint(self, file: CheckpointFile) -> Reading | None:
        """Recognise a single file; None if it is none of the family's.

        Raises:
            NotServable: it is one of the family's, but unfit; the message says why, and what to do.
        """
        ...

    def read_folder(self, folder: DiffusersFolder) -> Reading | None:
        """Recognise a folder; None if it is none of the family's.

        Raises:
            NotServable: as `read_checkpoint` does.
        """
        ...

    def read_adapter(self, file: CheckpointFile) -> AdapterReading | None:
        """Recognise the file of an adapter; None if it is for none of the family's models.

        Raises:
            NotServable: it is for the family's models, but cannot be used; the message says why.
        """
        ...

    def read_vae(self, file: CheckpointFile) -> VaeReading | None:
        """Recognise the file of a VAE; None if it is for none of the family's models.

        Raises:
            NotServable: it is for the family's models, but cannot be used; the message says why.
        """
        ...

    def read_embedding(self, file: CheckpointFile) -> EmbeddingReading | None:
        """Recognise the file of a textual inversion embedding; None if it is for none of the family's models.

        Raises:
            NotServable: it is an embedding that cannot be used; the message says why.
        """
        ...

    def assume(self, names: tuple[str, ...]) -> Reading:
        """Guess the traits of a repository that has not been downloaded, from its names, most telling first."""
        ...

    def component_of(self, tensor: str) -> str | None:
        """Component that a tensor of a single file belongs to; None if no network uses it."""
        ...

    def tokenizer_files(self, names: Iterable[str]) -> list[str]:
        """Select those of a repository's files that are needed beside configs and weights."""
        ...

    def defaults(self, traits: ModelTraits) -> Defaults:
        """Default parameters of a model with these traits."""
        ...

    def activation_nbytes(self, shape: ImageShape, networks: object) -> int:
        """Peak bytes beside the weights while one image is made; `networks` are those of the model's `Reading`."""
        ...

    def step_nbytes(self, shape: ImageShape, networks: object) -> int:
        """Peak bytes beside the weights while one image is denoised; images that are denoised together add up."""
        ...
