"""The devices of the machine. The first is known from the beginning, the others once the engines have started."""

from collections.abc import Callable, Iterator

from ..engine import Engine, Machine
from ..errors import DiffusionError
from .serving_device import ServingDevice


class Devices:
    """What serves each device of the machine. Event loop only."""

    def __init__(self, machine: Machine, serve: Callable[[Engine], ServingDevice]) -> None:
        """Serve the first device.

        Args:
            machine: its engines.
            serve: builds what serves one of them; called for each, in their order.
        """
        self._machine = machine
        self._serve = serve
        self._all = [serve(engine) for engine in machine.engines]

    def __iter__(self) -> Iterator[ServingDevice]:
        return iter(self._all)

    def __len__(self) -> int:
        return len(self._all)

    @property
    def first(self) -> ServingDevice:
        """The first one, which is known from the beginning."""
        return self._all[0]

    @property
    def answering(self) -> list[ServingDevice]:
        """Those that serve."""
        return [device for device in self._all if device.failure is None]

    @property
    def an_answering_one(self) -> ServingDevice:
        """One that serves, for what is the same on all of them; the first one, whose error says why, if none serves."""
        return next(iter(self.answering), self.first)

    @property
    def may_grow(self) -> bool:
        """Whether the number of devices is not known yet."""
        return not self._machine.complete

    @property
    def failure(self) -> DiffusionError | None:
        """Reason for which no device serves; None if one does."""
        return None if self.answering else self._all[0].failure

    async def start(self) -> None:
        """Start the engines, and serve all devices.

        Raises:
            EngineFailed: none of them could start.
        """
        await self._machine.start()
        for engine in self._machine.engines[len(self._all) :]:
            self._all.append(self._serve(engine))
