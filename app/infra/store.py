"""The components that are in memory: one copy of each, however many models have it, on the host and on the device."""

import json
from collections import Counter
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Any

import torch
import xxhash
from torch import Tensor, nn

from ..domain.ports import Component, ComponentId
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
    copy: Tensor | None = None
    """The arena's copy on the device."""

    def point_to(self, buffer: Tensor) -> None:
        """Make the weights views of a flat buffer, on whatever device that is."""
        for name, slot in self.layout.slots.items():
            owner, _, attribute = name.rpartition(".")
            weight = nn.Parameter(slot.view(buffer), requires_grad=False)
            setattr(self.module.get_submodule(owner), attribute, weight)
        for name, values in self.buffers.items():
            owner, _, attribute = name.rpartition(".")
            setattr(self.module.get_submodule(owner), attribute, values.to(buffer.device))


class ComponentStore:
    """Components by their content. The loader's thread adds, the engine's places and removes; each call is atomic enough.

    A model counts as one user of each of its components; the last user's leaving frees them.
    """

    def __init__(self) -> None:
        self._networks: dict[ComponentId, Network] = {}
        self._users: Counter[ComponentId] = Counter()
        self._known: dict[tuple[str, ...], ComponentId] = {}
        self._spare: list[HostArena] = []

    def remembered(self, key: tuple[str, ...]) -> Network | None:
        """What the same part of the same file turned out to be, if that is in memory; takes a use of it."""
        found = self._networks.get(self._known.get(key, ComponentId("")))
        if found is not None:
            self._users[found.facts.id] += 1
        return found

    def arena(self, nbytes: int) -> HostArena:
        """A buffer of exactly so many bytes: a spare one, whose pages have been touched already, or a fresh one."""
        for index, spare in enumerate(self._spare):
            if spare.nbytes == nbytes:
                return self._spare.pop(index)
        return HostArena(nbytes)

    def add(self, key: tuple[str, ...], fresh: Network, config: object) -> Network:
        """Take in a component that was read; where the same content is in memory already, that one is used instead.

        Args:
            key: the part of a file that it came from.
            fresh: the component, still without an id.
            config: what the module was built from.
        """
        facts = fresh.facts
        identity = content_id(fresh.arena.buffer, facts.name, config, facts.dtype)
        while (found := self._networks.get(identity)) and not torch.equal(found.arena.buffer, fresh.arena.buffer):
            identity = ComponentId(f"{identity}'")  # a collision of hashes: as likely as a meteorite
        if found is None:
            fresh.facts = Component(id=identity, name=facts.name, nbytes=facts.nbytes, dtype=facts.dtype)
            found = self._networks[identity] = fresh
        self._known[key] = identity
        self._users[identity] += 1
        return found

    def release(self, components: Iterable[Component], *, reuse: bool) -> None:
        """A model lets go of its components; those that no other model has are freed."""
        for component in components:
            self._users[component.id] -= 1
            if self._users[component.id] <= 0:
                del self._users[component.id]
                gone = self._networks.pop(component.id)
                gone.point_to(torch.empty(gone.layout.nbytes, dtype=torch.uint8, device="meta"))
                if reuse:
                    self._spare.append(gone.arena)

    def drop_spares(self) -> None:
        """Give unused buffers back to the system."""
        self._spare.clear()

    def named(self, ids: Collection[ComponentId]) -> list[Network]:
        """Those of the components that are still in memory."""
        return [self._networks[key] for key in ids if key in self._networks]


def content_id(buffer: Tensor, name: str, config: Any, dtype: str) -> ComponentId:
    """Stands for weights, role, config and dtype; XXH3 runs at the speed of memory."""
    values: Any = buffer.numpy()
    digest = xxhash.xxh3_128(values)
    digest.update(json.dumps([name, dtype, config], sort_keys=True, default=str).encode())
    return ComponentId(digest.hexdigest())
