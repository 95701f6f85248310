"""A model in host memory that several devices run, each with networks of its own over the same weights."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ...domain.models.components import Component, LoadedModel

if TYPE_CHECKING:
    from .device_worker import Runtime


@dataclass(slots=True, eq=False)
class SharedModel:
    """What the loader of a machine returns. Built for each device at its first use there."""

    components: tuple[Component, ...]
    load: "Callable[[Runtime], LoadedModel]"
    """Loads it for a device; its weights are in host memory already, so no file of weights is read."""
    built: "dict[Runtime, LoadedModel]" = field(default_factory=dict)
    """Read from any thread; each device's own helper thread adds to it."""

    def on(self, runtime: "Runtime") -> LoadedModel:
        """Return the model for a device, built at its first use there. Helper thread of that device only."""
        if runtime not in self.built:
            self.built[runtime] = self.load(runtime)
        return self.built[runtime]
