"""Moves the weights of a model between the host and the device. The host keeps the master copy."""

from collections.abc import Iterable

import torch
from torch import Tensor, nn


class Weights:
    """The parameters and buffers of a model's networks. Engine thread only."""

    def __init__(self, networks: Iterable[nn.Module]) -> None:
        self._networks = tuple(networks)
        tensors = [t for network in self._networks for t in (*network.parameters(), *network.buffers())]
        self._masters: list[tuple[Tensor, Tensor]] = [(tensor, tensor.data) for tensor in tensors]

    def to_device(self, device: torch.device) -> None:
        """Copy every weight to the device; all stay on the host where one of them does not fit."""
        if device.type == "cpu":
            return
        try:
            for tensor, master in self._masters:
                tensor.data = master.to(device, non_blocking=True)
            if device.type == "cuda":
                torch.cuda.synchronize(device)
        except BaseException:
            self.to_host()
            raise

    def to_host(self) -> None:
        """Drop the device's copies: nothing is copied, since weights are read-only."""
        for tensor, master in self._masters:
            tensor.data = master
