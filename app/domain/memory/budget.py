"""How much memory there is to use."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """How many bytes of weights and activations may be in memory at once; None means no limit."""

    device_nbytes: int | None = None
    host_nbytes: int | None = None
