"""Progress of a job: its place in the queue, loading, steps, previews."""

from collections.abc import Callable
from dataclasses import dataclass

from ..models.components import LoadProgress
from .rendering import RawImage


@dataclass(frozen=True, slots=True, kw_only=True)
class StepProgress:
    """How far the denoising of all images of a request is."""

    done: int
    total: int


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueProgress:
    """How many jobs are before this one."""

    position: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Preview:
    """What an unfinished image looks like, small and rough."""

    image: RawImage
    done: int
    total: int


Progress = QueueProgress | LoadProgress | StepProgress | Preview


OnProgress = Callable[[Progress], None]
"""Called from engine and loader threads; must return at once."""
