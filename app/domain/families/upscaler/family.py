"""Image upscalers as a family: files beside models, each of one network, leased and evicted as models are."""

from collections.abc import Iterable
from typing import ClassVar

from ...models.adapters import AdapterReading
from ...models.spec import ModelTraits
from ...models.vaes import VaeReading
from ..family import Defaults, ImageShape
from ..reading import CheckpointFile, DiffusersFolder, NotServable, Reading
from .detection import TITLE, read_network
from .networks import USUAL, UpscalerNetwork
from .tiles import side_of

NAME = "upscaler"
COMPONENT = "upscaler"
_LIVE_BEFORE = 4
"""Feature maps of a block that are alive at once, in sizes of the input: a dense block concatenates its layers' outputs."""
_LIVE_AFTER = 3
"""Feature maps that are alive at once, in the size of the output."""
_CANVAS_NBYTES = 4 * (3 + 1 + 3)
"""Bytes for each pixel of the output: its colours and weights, and the colours divided by the weights, in float32."""


class UpscalerFamily:
    """Fulfils `Family`. No request for images from text is resolved with it."""

    name = NAME
    title = TITLE
    runtime = "litestar_diffusion.infra.upscaler.runtime:UPSCALER"
    components: ClassVar = {COMPONENT: "upscaler"}
    config_files: tuple[str, ...] = ()
    size_multiple_px, latent_channels, clip_skip_base = 1, 0, 0

    def read_checkpoint(self, file: CheckpointFile) -> Reading:
        """Recognise a file in the folder of upscalers.

        Raises:
            NotServable: it is none that is served.
        """
        network = read_network(file.shapes)
        evidence = (
            f"{network.architecture}: {network.layers} layers of {network.features} channels, by the names and shapes of its "
            "tensors",
            f"enlarges {network.scale} times",
        )
        return Reading(traits=ModelTraits(family=self.name), evidence=evidence, networks=network)

    def read_folder(self, folder: DiffusersFolder) -> Reading | None:  # noqa: ARG002 - the protocol's signature
        """Recognise nothing: upscalers are single files."""
        return None

    def read_adapter(self, file: CheckpointFile) -> AdapterReading | None:  # noqa: ARG002 - the protocol's signature
        """Recognise nothing: upscalers have no adapters."""
        return None

    def read_vae(self, file: CheckpointFile) -> VaeReading | None:  # noqa: ARG002 - the protocol's signature
        """Recognise nothing: upscalers have no VAE."""
        return None

    def assume(self, names: tuple[str, ...]) -> Reading:
        """Refuse: upscalers are files on disk."""
        raise NotServable(f"upscalers are single files, not repositories such as {names[0]}")

    def component_of(self, tensor: str) -> str | None:  # noqa: ARG002 - the protocol's signature
        """Component that a tensor belongs to: the only one."""
        return COMPONENT

    def tokenizer_files(self, names: Iterable[str]) -> list[str]:  # noqa: ARG002 - the protocol's signature
        """Select nothing."""
        return []

    def defaults(self, traits: ModelTraits) -> Defaults:  # noqa: ARG002 - the protocol's signature
        """Default parameters, which nothing uses."""
        return Defaults(steps=1, guidance_scale=0.0, sampler="euler", timestep_spacing=None)

    def activation_nbytes(self, shape: ImageShape, networks: object) -> int:
        """Peak bytes beside the weights while a picture is enlarged: one tile and the canvas of the output."""
        network = networks if isinstance(networks, UpscalerNetwork) else USUAL
        side = side_of(small=shape.small_tiles)
        tile = min(side, shape.width_px) * min(side, shape.height_px)
        area = network.scale**2
        numbers = network.features * (_LIVE_BEFORE + _LIVE_AFTER * (area if network.architecture == "ESRGAN" else 1))
        canvas = shape.width_px * shape.height_px * area * _CANVAS_NBYTES
        return tile * (numbers + 3 * area) * shape.element_nbytes + canvas

    def step_nbytes(self, shape: ImageShape, networks: object) -> int:
        """Peak bytes beside the weights while a tile is enlarged."""
        return self.activation_nbytes(shape, networks)


UPSCALER = UpscalerFamily()
