"""What all models of one engine have in common while they are loaded."""

from dataclasses import dataclass, field

from ..weights.component_store import ComponentStore
from ..weights.twin_store import Store
from .fast_layers.upcasting import Upcaster


@dataclass(frozen=True, slots=True, kw_only=True)
class Loading:
    """How models come into host memory."""

    store: Store = field(default_factory=ComponentStore)
    """Shares what is in memory already."""
    upcaster: Upcaster = field(default_factory=Upcaster)
    """Converts the weights of models that are kept in fewer bits than they are computed in."""
    prompt_cache_nbytes: int = 64 * 1024**2
    """Host memory in which each model keeps encoded prompts; 0: none."""
