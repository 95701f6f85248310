"""Tells a device that is lost from a request that fails."""

import torch

from .out_of_memory import is_out_of_memory


def is_lost(device: torch.device) -> bool:
    """Tell whether a device answers no call any more, by a call that cannot fail otherwise.

    After an access to a wrong address, a launch that failed or an error of its memory, each later call of CUDA in this process
    fails, too. Other errors, such as a launch with wrong sizes, leave the device as it was. The CPU is never lost.
    """
    if device.type == "cpu":
        return False
    try:
        torch.ones(1, device=device).add_(1).item()
    except RuntimeError as error:
        return not is_out_of_memory(error)
    return False
