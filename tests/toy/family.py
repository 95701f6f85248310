"""Gradients as a family: a file with the one tensor `toy.colour` is a model of it."""

from collections.abc import Iterable
from typing import ClassVar

from litestar_diffusion.domain.families.family import Defaults, ImageShape
from litestar_diffusion.domain.families.reading import CheckpointFile, DiffusersFolder, NotServable, Reading
from litestar_diffusion.domain.models.adapters import AdapterReading
from litestar_diffusion.domain.models.embeddings import EmbeddingReading
from litestar_diffusion.domain.models.spec import ModelTraits
from litestar_diffusion.domain.models.vaes import VaeReading


class ToyFamily:
    name, title, runtime = "toy", "Toy", "tests.toy.runtime:TOY"
    components: ClassVar = {"painter": "painter"}
    config_files = ("model_index.json",)
    size_multiple_px, latent_channels, clip_skip_base = 1, 0, 0

    def read_checkpoint(self, file: CheckpointFile) -> Reading | None:
        if "toy.colour" not in file.shapes:
            return None
        if file.shapes["toy.colour"] != (3,):
            raise NotServable("this is a toy without three colours")
        return Reading(traits=ModelTraits(family=self.name, size_px=65), evidence=("toy: it holds toy.colour",))

    def read_folder(self, folder: DiffusersFolder) -> Reading | None:
        return None

    def read_adapter(self, file: CheckpointFile) -> AdapterReading | None:
        if "toy.shade" not in file.shapes:
            return None
        return AdapterReading(
            family=self.name,
            format="kohya",
            algorithms=("full",),
            components=("painter",),
            layers=1,
            evidence=("shade",),
        )

    def read_vae(self, file: CheckpointFile) -> VaeReading | None:
        return None

    def read_embedding(self, file: CheckpointFile) -> EmbeddingReading | None:
        return None

    def assume(self, names: tuple[str, ...]) -> Reading:
        raise NotServable("toys are single files")

    def component_of(self, tensor: str) -> str | None:
        return "painter"

    def tokenizer_files(self, names: Iterable[str]) -> list[str]:
        return []

    def defaults(self, traits: ModelTraits) -> Defaults:
        return Defaults(steps=1, guidance_scale=0.0, sampler="euler", timestep_spacing=None)

    def activation_nbytes(self, shape: ImageShape, networks: object) -> int:
        return shape.width_px * shape.height_px * 3

    def step_nbytes(self, shape: ImageShape, networks: object) -> int:
        return 0


TOY = ToyFamily()
