"""The memory that may be used."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """Bytes of weights and activations that may be in memory at once; None means no limit."""

    device_nbytes: int | None = None
    host_nbytes: int | None = None
