"""CUDA devices that are simulated on the CPU, for what no machine without a GPU runs otherwise.

`with simulated_gpus() as gpus:` and `torch.device("cuda")` exists, in all threads that begin in it. Computation is the CPU's, so
images can be compared to those that it makes. Simulated are the mistakes that only a GPU shows:

- a tensor on the host among tensors on a device is an error, as is one on another device;
- each device has a limit of memory, whose excess is `torch.OutOfMemoryError`, and counters of what is allocated;
- fresh memory is not a number;
- a copy from page-locked memory in a stream arrives when another stream or the host waits for it. Memory that is given back or
  used again too early is noted in `hazards`;
- calls that make the host wait for the device are counted.
"""

from .driver import SimulatedGpu
from .session import simulated_gpus

__all__ = ["SimulatedGpu", "simulated_gpus"]
