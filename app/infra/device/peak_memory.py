"""The peak of memory beside the weights, as the device itself counts it."""

import torch


class Peak:
    """Begins to watch when it is made. Engine thread only."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._before = 0
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(device)
            self._before = torch.cuda.memory_allocated(device)

    def nbytes(self) -> int | None:
        """The most bytes beside what was there before; None where the device does not count.

        Weights that arrive during the measurement are not activations: they count as if they had been there before.
        """
        if self._device.type != "cuda":
            return None
        after = torch.cuda.memory_allocated(self._device)
        return max(torch.cuda.max_memory_allocated(self._device) - max(self._before, after), 0)


def free_nbytes(device: torch.device) -> int | None:
    """Bytes that the device has left, as it says itself; None where it does not. Empty torch's cache first."""
    return torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else None
