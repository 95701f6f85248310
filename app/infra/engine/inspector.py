"""Reads requests without a device, in worker threads, and keeps the tokenizers that it has opened."""

import asyncio
import threading
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path

from ...domain.errors import LoadFailed
from ...domain.models.spec import HubRepository, ModelSpec
from ...domain.requests.inspection import Inspection
from ...domain.requests.request import GenerationRequest

_KEPT = 8
"""Models whose configs and tokenizers stay open; a few megabytes each."""
_Key = tuple[str, str, Path | None]
_Read = Callable[[GenerationRequest], Inspection]


class ConfigInspector:
    """Fulfils the `Inspector` port. torch is imported by its worker threads, and never before."""

    def __init__(self, snapshot: Callable[[HubRepository], Path | None]) -> None:
        """Build it; nothing is read yet.

        Args:
            snapshot: finds a repository's files; None if they are not on disk. Makes no request.
        """
        self._snapshot = snapshot
        self._opened: OrderedDict[_Key, _Read] = OrderedDict()
        self._lock = threading.Lock()

    async def inspect(self, spec: ModelSpec, request: GenerationRequest) -> Inspection:
        """Tokenize the prompts and build the sampler; tenths of a second the first time, milliseconds afterwards."""
        return await asyncio.to_thread(self._inspect, spec, request)

    def _inspect(self, spec: ModelSpec, request: GenerationRequest) -> Inspection:
        try:
            with self._lock:
                return self._reader(spec)(request)
        except (OSError, ValueError, KeyError) as error:
            raise LoadFailed(f"The configs of {spec.name!r} could not be read: {error}.") from error

    def _reader(self, spec: ModelSpec) -> _Read:
        source = spec.source
        files = self._snapshot(source) if isinstance(source, HubRepository) else source.path
        key = (spec.name, spec.version, files)
        if key not in self._opened:
            from .family import runtime_of  # here, because it imports torch

            self._opened[key] = runtime_of(spec).inspector(spec, files)
            while len(self._opened) > _KEPT:
                self._opened.popitem(last=False)
        self._opened.move_to_end(key)
        return self._opened[key]
