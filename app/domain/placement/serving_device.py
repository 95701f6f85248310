"""A device with all that serves it: its engine, its copies of the models, and its dispatcher."""

from dataclasses import dataclass

from ..dispatch.dispatcher import Dispatcher
from ..engine import Engine
from ..errors import DiffusionError
from ..memory.pool import DevicePool


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class ServingDevice:
    """One device of the machine."""

    engine: Engine
    pool: DevicePool
    dispatcher: Dispatcher

    @property
    def name(self) -> str:
        """Name in torch's spelling; `cpu:0` and so on if there are several CPU devices."""
        return self.engine.device.name

    @property
    def failure(self) -> DiffusionError | None:
        """Reason for which it makes no images: it could not start, is lost, or finishes no step; None while it serves."""
        return self.engine.failure or self.dispatcher.unresponsive
