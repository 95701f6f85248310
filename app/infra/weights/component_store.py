"""The components in memory: one copy of each on the host and on the device, shared by all models that use it."""

from collections import Counter
from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace
from itertools import count
from typing import Any

import torch
from torch import Tensor, nn

from ...domain.models.components import Component, ComponentId
from .arena import HostArena, Layout


@dataclass(slots=True, eq=False)
class Network:
    """A component: a module whose weights are views of one arena, or of that arena's copy on the device."""

    facts: Component
    module: nn.Module
    arena: HostArena
    layout: Layout
    buffers: dict[str, Tensor]
    """Small tensors that no file holds, on the host."""
    config: Any = None
    """Config that the module was built from."""
    copy: Tensor | None = None
    """The arena's copy on the device."""

    def point_to(self, buffer: Tensor) -> None:
        """Make the weights views of a flat buffer, on the buffer's device."""
        owners = dict(self.module.named_modules())
        for name, slot in self.layout.slots.items():
            owner, _, attribute = name.rpartition(".")
            setattr(owners[owner], attribute, nn.Parameter(slot.view(buffer), requires_grad=False))
        for name, values in self.buffers.items():
            owner, _, attribute = name.rpartition(".")
            setattr(owners[owner], attribute, values.to(buffer.device))

    def equals(self, other: "Network") -> bool:
        """Tell whether both have the same role, config, dtype, layout and weights."""
        if (self.facts.name, self.facts.dtype, self.config) != (other.facts.name, other.facts.dtype, other.config):
            return False
        if self.layout != other.layout:
            return False
        return all(
            torch.equal(slot.raw(self.arena.buffer), slot.raw(other.arena.buffer))
            for slot in self.layout.slots.values()
        )


class ComponentStore:
    """Components by their content. The loader's thread adds and removes them, the engine's thread reads them.

    Each model counts as one user of each of its components; a component without users is freed.
    """

    def __init__(self) -> None:
        self._networks: dict[ComponentId, Network] = {}
        self._users: Counter[ComponentId] = Counter()
        self._known: dict[tuple[str, ...], ComponentId] = {}
        self._spare: list[HostArena] = []
        self._numbers = count(1)

    def remembered(self, key: tuple[str, ...]) -> Network | None:
        """Return the component that was read from the same part of the same file if it is in memory, and add a use of it."""
        found = self._networks.get(self._known.get(key, ComponentId("")))
        if found is not None:
            self._users[found.facts.id] += 1
        return found

    def arena(self, nbytes: int) -> HostArena:
        """Return a buffer of exactly this size: a spare one, whose pages are populated already, or a fresh one."""
        for index, spare in enumerate(self._spare):
            if spare.nbytes == nbytes:
                return self._spare.pop(index)
        return HostArena(nbytes)

    def add(self, key: tuple[str, ...], fresh: Network) -> Network:
        """Take in a component that was read; if the same content is in memory already, that one is used instead.

        Contents are compared byte by byte, which ends at the first difference. Blocks for as long as that takes.

        Args:
            key: the part of a file that it came from.
            fresh: the component, still without an id.
        """
        found = next((other for other in list(self._networks.values()) if other.equals(fresh)), None)
        if found is None:
            identity = self._known.get(key) or ComponentId(f"{fresh.facts.name}-{next(self._numbers)}")
            fresh.facts = replace(fresh.facts, id=identity)
            found = self._networks[identity] = fresh
        self._known[key] = found.facts.id
        self._users[found.facts.id] += 1
        return found

    def release(self, components: Iterable[Component], *, reuse: bool) -> None:
        """Drop a model's use of its components; those that no other model uses are freed."""
        for component in components:
            self._users[component.id] -= 1
            if self._users[component.id] <= 0:
                del self._users[component.id]
                gone = self._networks.pop(component.id)
                gone.point_to(torch.empty(gone.layout.nbytes, dtype=torch.uint8, device="meta"))
                if reuse:
                    self._spare.append(gone.arena)

    def drop_spares(self) -> None:
        """Return unused buffers to the system."""
        self._spare.clear()

    def named(self, ids: Collection[ComponentId]) -> list[Network]:
        """Select the components that are still in memory."""
        return [self._networks[key] for key in ids if key in self._networks]
