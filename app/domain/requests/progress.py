"""Progress of a job: its place in the queue, loading, steps, previews."""

from collections.abc import Callable
from dataclasses import dataclass

from ..models.components import LoadProgress
from .rendering import RawImage


@dataclass(frozen=True, slots=True, kw_only=True)
class StepProgress:
    """Progress of denoising all images of a request."""

    done: int
    total: int


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueProgress:
    """Number of jobs before this one."""

    position: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Preview:
    """A small, rough picture of an unfinished image."""

    image: RawImage
    done: int
    total: int


Progress = QueueProgress | LoadProgress | StepProgress | Preview


OnProgress = Callable[[Progress], None]
"""Called from engine and loader threads; must return at once."""
