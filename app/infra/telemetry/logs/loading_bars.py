"""Live bars on a terminal for loads and downloads; log lines appear above them."""

import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from ....domain.models.assets import AssetKey
from ....domain.models.components import LoadProgress

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress, TaskID

_VERBS = {"download": "Downloading", "read": "Loading", "place": "Moving"}
_PATIENCE_S = 0.5
"""Seconds of a load from disk before its bar appears: a bar that flashes up says nothing."""


class LoadingBars:
    """Shows a bar for each asset that is being loaded or downloaded. May be called from any thread."""

    def __init__(self, console: "Console | None" = None, *, clock: Callable[[], float] = time.monotonic) -> None:
        """Show bars on a console; standard error if absent."""
        self._console = console
        self._clock = clock
        self._begun: dict[AssetKey, float] = {}
        self._tasks: dict[AssetKey, TaskID] = {}
        self._bars: Progress | None = None
        self._lock = threading.Lock()

    def __call__(self, asset: AssetKey, progress: LoadProgress | None) -> None:
        """Show the progress of an asset; None takes its bar away."""
        with self._lock:
            if progress is None:
                self._end(asset)
            elif progress.phase == "download" or self._waited_s(asset) >= _PATIENCE_S:
                self._show(asset, progress)

    def _waited_s(self, asset: AssetKey) -> float:
        now = self._clock()
        return now - self._begun.setdefault(asset, now)

    def _show(self, asset: AssetKey, progress: LoadProgress) -> None:
        if self._bars is None:
            self._bars = _bars(self._console)
            self._bars.start()
        title = f"{_VERBS.get(progress.phase, progress.phase)} {asset.name}"
        if asset not in self._tasks:
            self._tasks[asset] = self._bars.add_task(title, total=progress.total_nbytes)
        self._bars.update(
            self._tasks[asset], description=title, completed=progress.done_nbytes, total=progress.total_nbytes
        )

    def _end(self, asset: AssetKey) -> None:
        self._begun.pop(asset, None)
        task = self._tasks.pop(asset, None)
        if self._bars is None or task is None:
            return
        self._bars.remove_task(task)
        if not self._tasks:
            self._bars.stop()  # shows the cursor again, and gives standard error back
            self._bars = None


def _bars(console: "Console | None") -> "Progress":
    from rich.console import Console  # here, because most starts show no bar
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
        TransferSpeedColumn,
    )

    return Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f} %"),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
        console=console or Console(stderr=True),
        transient=True,
    )
