"""What the devices of a machine share: its components in host memory, and what is known of files. Imports torch."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from threading import RLock

import torch

from ...domain.models.spec import DtypeName, HubRepository
from ..device.device import all_devices, choose_device
from ..device.precision import FileWeights, computed_in
from ..weights.component_store import ComponentStore


@dataclass(slots=True, eq=False, kw_only=True)
class SharedHost:
    """One for each machine; the loader's thread changes it."""

    names: tuple[str, ...]
    """Names of the devices in torch's spelling; CPU devices of several are numbered."""
    dtype: DtypeName
    """Dtype of models that name none of their own: one in which all devices compute."""
    lock: RLock = field(default_factory=RLock)
    """Held while a device looks at or changes `store`."""
    store: ComponentStore = field(default_factory=ComponentStore)
    snapshots: dict[HubRepository, Path] = field(default_factory=dict[HubRepository, Path])
    """Folders of downloaded repositories."""
    weights: dict[Path, tuple[str, FileWeights]] = field(default_factory=dict[Path, tuple[str, FileWeights]])
    """Summaries of files by path, with the version of the entry."""

    @property
    def several(self) -> bool:
        """Whether there is more than one device."""
        return len(self.names) > 1

    @classmethod
    def of(cls, names: Sequence[str], dtype: DtypeName) -> "SharedHost":
        """Find the devices of this machine.

        Args:
            names: of the settings; `auto` alone means all GPUs.
            dtype: of the settings.
        """
        found = tuple(all_devices()) if tuple(names) == ("auto",) else tuple(names)
        if len(found) > 1:
            found = tuple(f"cpu:{number}" if name == "cpu" else name for number, name in enumerate(found))
            dtype = _common(dtype, found)
        return cls(names=found, dtype=dtype)


def _common(dtype: DtypeName, names: Sequence[str]) -> DtypeName:
    """Return a dtype that all devices compute in: weights are in host memory once, so GPUs of two generations use float16."""
    devices = [choose_device(name) for name in names if is_there(name)]
    return "float16" if dtype == "auto" and len({computed_in(dtype, device) for device in devices}) > 1 else dtype


def is_there(name: str) -> bool:
    """Tell whether this machine has a device."""
    kind, _, index = name.partition(":")
    return kind != "cuda" or int(index or 0) < torch.cuda.device_count()
