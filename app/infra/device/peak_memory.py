"""Measures the peak of memory beside the weights with the counters of the device's allocator."""

import torch


class Peak:
    """The peak since this object was created. Engine thread only."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._before = 0
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(device)
            self._before = torch.cuda.memory_allocated(device)

    def nbytes(self) -> int | None:
        """Return the peak in bytes above what was allocated before; None if the device has no counter.

        Weights that arrive during the measurement are not activations, so they are counted as allocated before.
        """
        if self._device.type != "cuda":
            return None
        after = torch.cuda.memory_allocated(self._device)
        return max(torch.cuda.max_memory_allocated(self._device) - max(self._before, after), 0)


def free_nbytes(device: torch.device) -> int | None:
    """Return the free memory that the driver reports, in bytes; None if it reports none. Empty torch's cache first."""
    return torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else None
