"""Estimates how long it takes to bring a model to a device, from the loads and copies that were seen."""

from ..memory.events import AssetLoaded, AssetPlaced, PoolEvent
from ..memory.pool import DevicePool
from ..models.assets import AssetKey
from ..models.spec import ModelName

_WEIGHT = 0.3
"""Weight of a new observation in the running average."""


class BringTimes:
    """Seconds a byte on the way from disk to host and from host to device. Event loop only."""

    def __init__(self) -> None:
        self._read = 1e-9
        """Before the first load: 1 GB a second."""
        self._place = 1e-10
        """Before the first copy: 10 GB a second."""

    def on_event(self, event: PoolEvent) -> None:
        """Learn from what the pools do."""
        match event:
            case AssetLoaded(nbytes=nbytes, seconds=seconds) if nbytes:
                self._read += (seconds / nbytes - self._read) * _WEIGHT
            case AssetPlaced(nbytes=nbytes, seconds=seconds) if nbytes:
                self._place += (seconds / nbytes - self._place) * _WEIGHT
            case _:
                pass

    def seconds(self, pool: DevicePool, model: ModelName) -> float:
        """Return the seconds until a model could run on the device of a pool, if it was asked for now; 0 if it is there.

        If it takes the place of a model that other requests want, that one's way back is added.
        """
        key = AssetKey("model", model)
        residency = pool.residency(key)
        if residency == "device":
            return 0.0
        nbytes = pool.expected_nbytes(key)
        there_s = nbytes * self._place * (1 if pool.can_admit(model) else 2)
        return there_s if residency == "host" else there_s + nbytes * self._read
