"""Copies components from host to device. The host keeps the master copy, so nothing is copied back."""

from collections.abc import Sequence

import torch

from ..weights.component_store import Network

_CHUNK_NBYTES = 512 * 1024**2
"""Size of one copy: large enough for the full speed of the bus, small enough that copies of activations do not wait long."""


class Mover:
    """Issues copies on a CUDA stream of its own, beside the running computation. Does nothing on a CPU.

    Engine thread only, except for `wait`.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._stream = torch.cuda.Stream(device) if device.type == "cuda" else None
        self._last: torch.Event | None = None

    def place(self, networks: Sequence[Network]) -> None:
        """Begin to copy components to the device; if one does not fit, the others of this call are dropped again.

        Copies get memory that earlier ones had, which kernels of a cancelled request may still read. So they come after all
        that the device was given to compute until now: a step, at most.

        Raises:
            torch.OutOfMemoryError: the device has too little free memory.
        """
        if self._device.type == "cpu":
            return
        fresh = [network for network in networks if network.copy is None]
        if self._stream is not None:
            self._stream.wait_stream(torch.cuda.current_stream(self._device))
        try:
            for network in fresh:
                self._begin(network)
        except BaseException:
            self.offload(fresh)
            raise
        if self._stream is not None:
            self._last = self._stream.record_event()
            torch.cuda.current_stream(self._device).wait_event(self._last)

    def wait(self) -> None:
        """Block until all copies that were begun are complete."""
        if self._last is not None:
            self._last.synchronize()

    def offload(self, networks: Sequence[Network]) -> None:
        """Drop the copies on the device. Weights are read-only, so nothing is copied back."""
        if self._device.type == "cpu":
            return
        for network in networks:
            network.point_to(network.arena.buffer)
            network.copy = None

    def _begin(self, network: Network) -> None:
        source = network.arena.buffer
        if self._stream is None:
            network.copy = source.to(self._device)
        else:
            network.arena.pin()
            with torch.cuda.stream(self._stream):
                network.copy = torch.empty_like(source, device=self._device)
                for to, part in zip(network.copy.split(_CHUNK_NBYTES), source.split(_CHUNK_NBYTES), strict=True):
                    to.copy_(part, non_blocking=True)
        network.point_to(network.copy)
