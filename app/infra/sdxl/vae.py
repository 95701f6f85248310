"""A VAE in a file of its own, which replaces that of a model while a request runs."""

from dataclasses import dataclass, field, replace
from typing import Any

import msgspec
import torch
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL

from ...domain.families.reading import CheckpointFile
from ...domain.families.sdxl.configs import VaeConfig
from ...domain.families.sdxl.vae_file import checkpoint_name, vae_config
from ...domain.models.components import Component, OnLoad
from ...domain.models.spec import Checkpoint, ModelName, ModelSpec, ModelTraits
from ...domain.models.vaes import VaeSpec
from ..device.precision import Precision
from ..diffusion.encoded_pictures import EncodedPictures
from ..diffusion.load_context import Loading
from ..weights.config_files import reader_beside
from ..weights.safetensors_header import read_header
from .loading.component_reader import ComponentReader
from .loading.components import SHIPPED_CONFIGS, SdxlModel


@dataclass(slots=True, kw_only=True)
class SdxlVae:
    """A VAE in memory."""

    module: AutoencoderKL
    dtype: torch.dtype
    """Dtype that it computes in."""
    components: tuple[Component, ...]
    pictures: EncodedPictures = field(default_factory=EncodedPictures)
    """Pictures that requests began from, encoded by it."""

    def in_place_of(self, model: SdxlModel) -> SdxlModel:
        """Return a model with this VAE, for decoding and for encoding pictures; all else is the given model's."""
        return replace(model, vae=self.module, dtype=self.dtype, pictures=self.pictures)


def load_vae(spec: VaeSpec, precision: Precision, on_load: OnLoad, loading: Loading) -> SdxlVae:
    """Read a VAE into host memory; the same weights inside a model that is in memory are shared.

    Raises:
        UnusableModel: tensors are missing or have the wrong shape.
        NotServable: it is no VAE that can be used.
        BrokenFile: the file is broken.
        OSError: the file cannot be read.
    """
    source = ModelSpec(
        name=ModelName(spec.name),
        source=Checkpoint(path=spec.path),
        traits=ModelTraits(),
        nbytes=spec.nbytes,
        version=spec.version,
    )
    reader = ComponentReader(
        source,
        spec.path,
        SHIPPED_CONFIGS,
        precision,
        loading,
        on_load,
        rename=checkpoint_name,
        variants={"vae": _differences(spec)},
    )
    with reader:
        reader.find(("vae",))
        reader.start()
        network = reader.take("vae")
    module: Any = network.module
    return SdxlVae(module=module, dtype=precision.computed, components=(network.facts,))


def _differences(spec: VaeSpec) -> dict[str, Any]:
    """Return the fields of its config that are not SDXL's own, so that an equal VAE of a model is recognised."""
    header = read_header(spec.path)
    file = CheckpointFile(
        shapes=header.shapes, metadata=header.metadata, name=spec.path.stem, read_config=reader_beside(spec.path)
    )
    usual = msgspec.structs.asdict(VaeConfig())
    return {name: value for name, value in msgspec.structs.asdict(vae_config(file)).items() if value != usual[name]}
