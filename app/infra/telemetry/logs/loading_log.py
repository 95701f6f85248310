"""Log lines about a load or a download that takes long: without them a server that downloads gigabytes looks dead."""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from ....domain.models.assets import AssetKey
from ....domain.models.components import LoadProgress
from ....logs import get_logger

_log = get_logger(__name__)
LOG_EVERY_S = 5.0
"""Seconds between two lines about one model; shorter loads are told by their end alone."""


@dataclass(slots=True, kw_only=True)
class _Phase:
    """What is known of the running phase of one model."""

    name: str
    begun: float
    begun_nbytes: int
    logged: float


class LoadingLog:
    """Writes a line each few seconds: percent, bytes, speed. May be called from any thread."""

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._phases: dict[AssetKey, _Phase] = {}
        self._lock = threading.Lock()  # two downloads report from threads of their own

    def __call__(self, asset: AssetKey, progress: LoadProgress | None) -> None:
        """Note the progress of an asset; None ends it."""
        with self._lock:
            if progress is None:
                self._phases.pop(asset, None)
            else:
                self._note(asset, progress, self._clock())

    def _note(self, asset: AssetKey, progress: LoadProgress, now: float) -> None:
        phase = self._phases.get(asset)
        if phase is None or phase.name != progress.phase:
            begun = _Phase(name=progress.phase, begun=now, begun_nbytes=progress.done_nbytes, logged=now)
            self._phases[asset] = begun
        elif now - phase.logged >= LOG_EVERY_S:
            phase.logged = now
            _log.info(
                "load_progress",
                **{asset.kind: asset.name},
                phase=progress.phase,
                percent=100 * progress.done_nbytes // max(progress.total_nbytes, 1),
                nbytes=progress.done_nbytes,
                total=progress.total_nbytes,
                mb_per_s=round((progress.done_nbytes - phase.begun_nbytes) / (now - phase.begun) / 1e6, 1),
            )
