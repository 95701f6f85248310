"""The components in host memory as one of several devices sees them: networks of its own, whose weights are the same arenas.

Networks cannot be shared by devices: weights are attributes of the layers, and adapters stand in for layers while a batch runs.
"""

from collections.abc import Collection, Iterable, Mapping
from copy import deepcopy
from dataclasses import replace
from threading import RLock
from typing import Any

import torch

from ...domain.models.components import Component, ComponentId
from .arena import HostArena
from .component_store import ComponentStore, Network


class TwinStore:
    """The components of a `ComponentStore` for one device. Loader and helper threads; the engine's reads what was placed."""

    def __init__(self, host: ComponentStore, own: Mapping[str, object], lock: RLock) -> None:
        """Make a store without twins.

        Args:
            host: holds the networks that twins are made of; they never run.
            own: objects of this device, by the attribute of layers that refers to those of another device.
            lock: of `host`, because the loaders and helpers of all devices use it.
        """
        self._host = host
        self._own = own
        self._lock = lock
        self._twins: dict[ComponentId, Network] = {}

    def remembered(self, key: tuple[str, ...]) -> Network | None:
        """Return the component that was read from the same part of the same file, and add a use of it."""
        with self._lock:
            found = self._host.remembered(key)
            return None if found is None else self._twin(found)

    def arena(self, nbytes: int) -> HostArena:
        """Return a buffer of exactly this size."""
        with self._lock:
            return self._host.arena(nbytes)

    def add(self, key: tuple[str, ...], fresh: Network) -> Network:
        """Take in a component that was read; see `ComponentStore.add`."""
        with self._lock:
            return self._twin(self._host.add(key, fresh))

    def release(self, components: Iterable[Component], *, reuse: bool) -> None:
        """Drop a model's use of its components. Call `drop_orphans` of all devices' stores before a buffer is used again."""
        with self._lock:
            self._host.release(components, reuse=reuse)

    def drop_orphans(self) -> None:
        """Drop the twins of components that have left host memory."""
        with self._lock:
            for key in [key for key in self._twins if not self._host.named([key])]:
                gone = self._twins.pop(key)
                gone.point_to(torch.empty(gone.layout.nbytes, dtype=torch.uint8, device="meta"))
                gone.copy = None

    def drop_spares(self) -> None:
        """Return unused buffers to the system."""
        with self._lock:
            self._host.drop_spares()

    def named(self, ids: Collection[ComponentId]) -> list[Network]:
        """Select the components that are still in memory."""
        with self._lock:
            return [self._twin(network) for network in self._host.named(ids)]

    def _twin(self, network: Network) -> Network:
        twin = self._twins.get(network.facts.id)
        if twin is None:
            twin = self._twins[network.facts.id] = replace(network, module=self._copied(network), copy=None)
        return twin

    def _copied(self, network: Network) -> Any:
        """Copy a module without its tensors, which both have then."""
        module = network.module
        tensors = [*module.parameters(), *module.buffers()]
        kept: dict[int, object] = {id(tensor): tensor for tensor in tensors}
        for layer in module.modules():
            for attribute, own in self._own.items():
                if (other := layer.__dict__.get(attribute)) is not None:
                    kept[id(other)] = own
        return deepcopy(module, kept)


Store = ComponentStore | TwinStore
"""Where loaders find components and put them."""
