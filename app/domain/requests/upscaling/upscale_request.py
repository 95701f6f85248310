"""A request to enlarge pictures with an upscaler, in which every choice is made."""

from dataclasses import dataclass

from ...families.upscaler.tiles import TILE_PX, sizes_of_passes, tiles_of_pass
from ...models.assets import AssetSet
from ...models.spec import ModelName
from ..pictures.picture import Picture

_WORK = 8
"""Denoising steps that one pass takes as long as, by the multiplications for each pixel of an ESRGAN and of a large denoiser."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UpscaleRequest:
    """Pictures of one size, each of which goes through the network of an upscaler; equal requests give equal pictures."""

    assets: AssetSet
    """The upscaler, under its name in the pool."""
    pictures: tuple[Picture, ...]
    """RGB, of `width` x `height`; none in a plan that is made before the pictures are there."""
    count: int
    """Number of pictures."""
    width: int
    height: int
    scale: int
    """Factor by which the network enlarges both sides."""
    passes: int
    """Times that a picture goes through the network."""
    guided: bool = False
    """A picture is a row of its own."""
    reproducible: bool = True
    """Tiles are enlarged alone, so a picture is the same beside any other work."""

    @property
    def rows_an_image(self) -> int:
        """A picture is one row."""
        return 1

    @property
    def model(self) -> ModelName:
        """Name of the upscaler in the pool."""
        return self.assets.model

    @property
    def largest_input(self) -> tuple[int, int]:
        """Width and height of the input of the last pass."""
        factor = self.scale ** (self.passes - 1)
        return self.width * factor, self.height * factor

    @property
    def steps(self) -> int:
        """Tiles of all passes and pictures, in the usual size."""
        sizes = sizes_of_passes(self.width, self.height, self.scale, self.passes)
        return self.count * sum(tiles_of_pass(*size, TILE_PX) for size in sizes)

    @property
    def work_pixels(self) -> int:
        """Pixels that go through the network, in those that a denoiser processes in the same time."""
        factors = (self.scale ** (2 * done) for done in range(self.passes))
        return _WORK * self.count * self.width * self.height * sum(factors)
