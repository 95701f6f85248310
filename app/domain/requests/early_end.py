"""Asks a running request to end early, with its images as far as they are. Cancelling is another thing: it gives no images."""

from typing import Literal

Ending = Literal["images", "request"]
"""The images that are being denoised, after which the others are begun; or the whole request."""


class EarlyEnd:
    """Carries the wish from the event loop to the engine's thread, which asks for it after each step."""

    def __init__(self) -> None:
        self._wish: Ending | None = None

    def ask(self, ending: Ending) -> None:
        """Have the request end after its next step."""
        if self._wish != "request":
            self._wish = ending

    def take(self) -> Ending | None:
        """Return what was asked for; the end of the images that are being denoised once only."""
        wish = self._wish
        if wish == "images":
            self._wish = None
        return wish
