"""SDXL as a family."""

import re
from collections.abc import Iterable, Mapping

from ...models.adapters import AdapterReading
from ...models.embeddings import EmbeddingReading
from ...models.spec import FewStep, ModelTraits
from ...models.vaes import VaeReading
from ..family import Defaults, ImageShape
from ..latents import LATENT_SCALE
from ..reading import CheckpointFile, DiffusersFolder, Reading
from . import activations, detection
from .adapter_files.reading import read_adapter
from .configs import read_component_configs
from .embedding_file import read_embedding
from .folder import read_folder
from .tensors.key_tensors import COMPONENTS, PREFIXES, TITLES
from .vae_file import read_vae
from .variants import of_file
from .widths import SDXL_WIDTHS, Widths

_STEPS = 25
_GUIDANCE = 7.5
_FEW_STEP_SAMPLERS = {"lcm": "lcm", "dmd2": "lcm", "tcd": "tcd", "pcm": "lcm", "turbo": "euler_a"}
_TOKENIZER_FILE = re.compile(r"tokenizer(?:_2)?/[^/]+\.(?:json|txt)")


class SdxlFamily:
    """Fulfils `Family`."""

    name = detection.NAME
    title = "SDXL"
    runtime = "litestar_diffusion.infra.sdxl.runtime:SDXL"
    components: Mapping[str, str] = {name: TITLES[name] for name in COMPONENTS}
    config_files = (
        "model_index.json",
        "scheduler/scheduler_config.json",
        *(f"{component}/config.json" for component in COMPONENTS),
    )
    size_multiple_px = LATENT_SCALE
    latent_channels = 4
    clip_skip_base = 2  # the web UI counts from 1, from the end; SDXL's usual layer is the last but one

    def read_checkpoint(self, file: CheckpointFile) -> Reading | None:
        """Recognise a single file; see `Family`."""
        if not detection.is_sdxl(file.shapes):
            return None
        configs = of_file(read_component_configs(file.read_config), file.shapes)
        return detection.read_header(file.shapes, file.metadata, file.name, configs, file.odd)

    def read_folder(self, folder: DiffusersFolder) -> Reading | None:
        """Recognise a folder; see `Family`."""
        return read_folder(folder)

    def read_adapter(self, file: CheckpointFile) -> AdapterReading | None:
        """Recognise the file of an adapter for SDXL; see `Family.read_adapter`."""
        return read_adapter(file)

    def read_vae(self, file: CheckpointFile) -> VaeReading | None:
        """Recognise the file of a VAE for SDXL; see `Family.read_vae`."""
        return read_vae(file)

    def read_embedding(self, file: CheckpointFile) -> EmbeddingReading | None:
        """Recognise the file of an embedding for SDXL; see `Family.read_embedding`."""
        return read_embedding(file)

    def assume(self, names: tuple[str, ...]) -> Reading:
        """Guess the traits of a repository that has not been downloaded."""
        return detection.read_names(*names)

    def component_of(self, tensor: str) -> str | None:
        """Component that a tensor of a single file belongs to."""
        return next((name for name in COMPONENTS if tensor.startswith(PREFIXES[name])), None)

    def tokenizer_files(self, names: Iterable[str]) -> list[str]:
        """Select the vocabularies and merges of both tokenizers."""
        return [name for name in names if _TOKENIZER_FILE.fullmatch(name)]

    def defaults(self, traits: ModelTraits) -> Defaults:
        """Default parameters: few steps with little guidance or none for a distilled model, else the sampler of its config."""
        few_step = traits.few_step
        stated = traits.sampler or "euler"
        trailing = few_step or (traits.zero_snr and traits.timestep_spacing is None)
        return Defaults(
            steps=few_step.steps if few_step else _STEPS,
            guidance_scale=few_step.guidance_scale if few_step else _GUIDANCE,
            sampler=_few_step_sampler(few_step, stated) if few_step else stated,
            timestep_spacing="trailing" if trailing else None,
        )

    def activation_nbytes(self, shape: ImageShape, networks: object) -> int:
        """Peak bytes beside the weights while one image is made."""
        return activations.activation_nbytes(shape, _widths(networks))

    def step_nbytes(self, shape: ImageShape, networks: object) -> int:
        """Peak bytes beside the weights while one image is denoised."""
        return activations.step_nbytes(shape, _widths(networks))


def _few_step_sampler(few_step: FewStep, stated: str) -> str:
    """Return the sampler of a kind, else the stated one; fine-tunes that keep guidance are made for DPM++ SDE."""
    return "dpmpp_sde" if few_step.guidance_scale else _FEW_STEP_SAMPLERS.get(few_step.kind, stated)


def _widths(networks: object) -> Widths:
    return networks if isinstance(networks, Widths) else SDXL_WIDTHS


SDXL = SdxlFamily()
