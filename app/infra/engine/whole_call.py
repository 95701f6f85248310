"""Runs of a family whose pipeline cannot be stepped: the one step of each is the whole call."""

import time
from collections.abc import Callable, Sequence

from ...domain.requests.rendering import RawImage
from ...domain.requests.request import GenerationRequest


class WholeCallRun:
    """Fulfils `Run`: one request, made in one step, alone."""

    total = 1
    rows = 1
    warnings: tuple[str, ...] = ()

    def __init__(self, request: GenerationRequest, make: Callable[[GenerationRequest], Sequence[RawImage]]) -> None:
        """Do nothing yet; `make` makes all images of the request, in the order of its seeds."""
        self._request = request
        self._make = make
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
        return len(self.images) == len(self._request.seeds)

    def preview(self) -> RawImage:
        """Show the first image: before it is made there is nothing to show."""
        return self.images[0]

    def finish_images(self) -> None:
        """Do nothing: the call has decoded them."""

    def call(self) -> None:
        """Make the images."""
        begun = time.perf_counter()
        self.images = tuple(self._make(self._request))
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
