"""What all models of one engine have in common while they are loaded."""

from dataclasses import dataclass, field

from ..weights.component_store import ComponentStore
from .upcast_layers import Widener


@dataclass(frozen=True, slots=True, kw_only=True)
class Loading:
    """How models come into host memory."""

    store: ComponentStore = field(default_factory=ComponentStore)
    """Shares what is in memory already."""
    widener: Widener = field(default_factory=Widener)
    """For the models that are kept in fewer bits than they are computed in."""
    prompt_cache_nbytes: int = 64 * 1024**2
    """Host memory in which each model keeps encoded prompts; 0: none."""
