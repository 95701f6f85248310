"""Runs of a family whose pipeline cannot be stepped: the one step of each is the whole call."""

import time
from collections.abc import Callable, Sequence

from ...domain.requests.early_end import Ending
from ...domain.requests.pictures.source import Latents
from ...domain.requests.rendering import RawImage
from ...domain.requests.request import GenerationRequest
from ..device.out_of_memory import stage


class WholeCallRun:
    """Fulfils `Run`: one request, made in one step, alone."""

    total = 1
    rows = 1
    decoding = False
    warnings: tuple[str, ...] = ()
    unfinished: frozenset[int] = frozenset()
    latents: tuple[Latents, ...] = ()

    def __init__(self, request: GenerationRequest, make: Callable[[GenerationRequest], Sequence[RawImage]]) -> None:
        """Do nothing yet; `make` makes all images of the request, in the order of its seeds."""
        self._request = request
        self._make = make
        self._made = False
        self.images: tuple[RawImage, ...] = ()
        self.encode_s = self.decode_s = 0.0

    @property
    def lane(self) -> object:
        """Its own: it shares no step."""
        return id(self)

    @property
    def done(self) -> int:
        """1 once the images are made."""
        return int(self.finished)

    @property
    def finished(self) -> bool:
        """Whether the images are made."""
        return self._made

    def park(self) -> None:
        """Do nothing: a whole call never gives way before its end."""

    def resume(self, networks: object, adapters: Sequence[object], vae: object) -> None:
        """Do nothing: a whole call never gives way before its end."""

    def preview(self) -> RawImage:
        """Show the first image: before it is made there is nothing to show."""
        return self.images[0]

    def end_early(self, ending: Ending) -> None:
        """Do nothing: its one step is its last."""

    def decode_next(self) -> None:
        """Do nothing: the call has decoded them."""

    def call(self) -> None:
        """Make the images.

        Raises:
            OutOfMemory: of the stage `denoise`.
            RuntimeError: the family made another number of images than the request has seeds.
        """
        begun = time.perf_counter()
        with stage("denoise"):
            images = tuple(self._make(self._request))
        wanted = len(self._request.seeds)
        if len(images) != wanted:
            raise RuntimeError(f"the family made {len(images)} images for a request of {wanted}")
        self.images, self._made = images, True
        self.decode_s = time.perf_counter() - begun


class WholeCallForward:
    """Fulfils `BatchedForward`: makes one call after the other."""

    def step(self, runs: Sequence[WholeCallRun]) -> dict[WholeCallRun, Exception]:
        """Make the images of each run; returns those that failed, with the reason."""
        failed: dict[WholeCallRun, Exception] = {}
        for run in runs:
            try:
                run.call()
            except Exception as error:
                failed[run] = error
        return failed

    def forget(self) -> None:
        """Hold nothing."""
