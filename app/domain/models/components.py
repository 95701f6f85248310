"""Components of a model in memory, and the progress of a load."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NewType, Protocol, runtime_checkable

ComponentId = NewType("ComponentId", str)
"""Identity of content: equal ids mean equal weights, config, dtype and layout."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Component:
    """One network of a model that is in memory."""

    id: ComponentId
    name: str
    """Role in the model: one of its family's `components`, such as `vae`."""
    nbytes: int
    """Bytes of its weights, on the host and again on the device."""
    dtype: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadProgress:
    """Progress of a load."""

    phase: str
    """`download`, `read` or `place`."""
    done_nbytes: int
    total_nbytes: int


OnLoad = Callable[[LoadProgress], None]
"""Called from the loading thread; must return at once."""


@runtime_checkable
class LoadedModel(Protocol):
    """A model whose weights are in host memory. Only the engine looks inside."""

    @property
    def components(self) -> Sequence[Component]:
        """Its networks; models with the same weights have components of the same id, which are in memory once."""
        ...
